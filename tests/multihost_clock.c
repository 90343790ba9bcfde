/* A wall clock of its own for the Python programs of a host: LD_PRELOAD, the offset is in a file.

   The file (JETSCHED_TEST_CLOCK) holds two 64-bit integers: the offset, and the machine's time from
   which on it holds, both in nanoseconds. What Python and SQLite ask for the wall clock, and the
   times of files that were written since, are moved by the offset. Not covered: the C++ of Ray,
   timers that wait for a wall clock time, and file times set before the step. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *clock_file;
static int (*real_gettime)(clockid_t, struct timespec *);

static void find_real(void) {
    if (!real_gettime) real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

__attribute__((constructor)) static void start(void) {
    find_real();
    const char *path = getenv("JETSCHED_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *memory = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) clock_file = memory;
}

/* Whether the caller is the interpreter or SQLite, and not a library that brings its own clock. */
static int is_ours(void *caller) {
    Dl_info info;
    if (!dladdr(caller, &info) || !info.dli_fname) return 0;
    const char *name = strrchr(info.dli_fname, '/');
    name = name ? name + 1 : info.dli_fname;
    return !strncmp(name, "python", 6) || !strncmp(name, "libpython", 9) ||
           !strncmp(name, "libsqlite3", 10) || !strncmp(name, "_sqlite3", 8) ||
           !strncmp(name, "time.", 5);
}

static int64_t offset_for(void *caller) {
    if (!clock_file || !clock_file[0] || !is_ours(caller)) return 0;
    return clock_file[0];
}

static void move(struct timespec *t, int64_t by) {
    int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + by;
    t->tv_sec = ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    find_real();
    int done = real_gettime(id, t);
    if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        move(t, offset_for(__builtin_return_address(0)));
    return done;
}

int gettimeofday(struct timeval *t, void *zone) {
    struct timespec now;
    (void)zone;
    find_real();
    if (real_gettime(CLOCK_REALTIME, &now)) return -1;
    move(&now, offset_for(__builtin_return_address(0)));
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    find_real();
    real_gettime(CLOCK_REALTIME, &now);
    move(&now, offset_for(__builtin_return_address(0)));
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

static void move_file(struct timespec *t, int64_t by) {
    if ((int64_t)t->tv_sec * 1000000000 + t->tv_nsec >= clock_file[1]) move(t, by);
}

static int moved(int done, struct stat *s, void *caller) {
    int64_t by = done == 0 ? offset_for(caller) : 0;
    if (by) {
        move_file(&s->st_mtim, by);
        move_file(&s->st_ctim, by);
        move_file(&s->st_atim, by);
    }
    return done;
}

#define CALLER __builtin_return_address(0)
#define REAL(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

int stat(const char *p, struct stat *s) {
    return moved(REAL("stat", const char *, struct stat *)(p, s), s, CALLER);
}
int lstat(const char *p, struct stat *s) {
    return moved(REAL("lstat", const char *, struct stat *)(p, s), s, CALLER);
}
int fstat(int fd, struct stat *s) {
    return moved(REAL("fstat", int, struct stat *)(fd, s), s, CALLER);
}
int fstatat(int fd, const char *p, struct stat *s, int flags) {
    return moved(REAL("fstatat", int, const char *, struct stat *, int)(fd, p, s, flags), s, CALLER);
}
int stat64(const char *p, struct stat64 *s) {
    return moved(REAL("stat64", const char *, struct stat64 *)(p, s), (struct stat *)s, CALLER);
}
int lstat64(const char *p, struct stat64 *s) {
    return moved(REAL("lstat64", const char *, struct stat64 *)(p, s), (struct stat *)s, CALLER);
}
int fstat64(int fd, struct stat64 *s) {
    return moved(REAL("fstat64", int, struct stat64 *)(fd, s), (struct stat *)s, CALLER);
}
int fstatat64(int fd, const char *p, struct stat64 *s, int flags) {
    return moved(REAL("fstatat64", int, const char *, struct stat64 *, int)(fd, p, s, flags),
                 (struct stat *)s, CALLER);
}

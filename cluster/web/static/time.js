// Keeps moments fresh: the server says when something was or will be, the browser how far off it is.

// How far the head's clock is before this machine's. Not performance.now(): that stands still while
// a machine sleeps.
const offset = Number(document.documentElement.dataset.now) - Date.now() / 1000;
const DASH = "\u2013";

export function now() {
  return Date.now() / 1000 + offset;
}

// The same words as on the terminal: 12 s, 6m 12s, 41m, 1h 04m, 2d 03h.
export function duration(seconds) {
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (!Number.isFinite(seconds)) return DASH;
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return whole % 60 ? `${Math.floor(whole / 60)}m ${two(whole % 60)}s` : `${whole / 60}m`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes}m`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

// The time of day by the head's clock, as in its pictures and tables; the day where it is another.
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const ahead = Number(document.documentElement.dataset.ahead);

function clock(stamp) {
  const [day, time] = stamp.split("T");
  const today = new Date((now() + ahead) * 1000).toISOString().slice(0, 10);
  if (day === today) return time.slice(0, 5);
  return `${day.slice(8)} ${MONTHS[day.slice(5, 7) - 1]} ${time.slice(0, 5)}`;
}

function words(element) {
  const at = Number(element.dataset.at);
  if (element.dataset.as === "clock") return clock(element.dateTime);
  if (element.dataset.as === "since") return duration(Math.max(0, now() - at));
  const left = at - now();
  if (element.dataset.as === "starts") return `starts in ${duration(Math.max(0, left))}`;
  if (element.dataset.as === "done" && left >= 0) return `done in ${duration(left)}`;
  return left < 0 ? `${duration(-left)} over its estimate` : `in ${duration(left)}`;
}

function freshen() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-at]")) {
    const text = words(element);
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(freshen, 1000);
document.addEventListener("visibilitychange", freshen);
document.addEventListener("jetsched:parts", freshen);
document.addEventListener("jetsched:drawer", freshen);
freshen();

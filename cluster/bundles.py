"""Files that go together and travel together: a model's folder, a data set, a checkpoint.

A *bundle* is a list of relative paths with sizes and sha256 sums; its digest is its name, so that
what is equal is kept once, whoever brought it. What could reach out of its folder (``..``, absolute
paths, links that lead elsewhere) is refused, and so are weights as pickle: reading one runs code.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from jetsched.errors import InputError
from jetsched.files import json_bytes, to_json
from jetsched.problems import quoted

#: So many digits of a digest name a bundle where a whole one would be too long.
SHORT = 16
#: The most files that a bundle may have, and the longest path in it.
MOST_FILES = 10_000
LONGEST_PATH = 1024
#: Files that are read by unpickling them.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
#: What a model's folder may hold beside what is needed to run it: weights in other forms.
OTHER_FORMS = (
    *PICKLES,
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".gguf",
    ".tflite",
    ".md",
    ".gitattributes",
)
READ_BYTES = 1 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class FileEntry:
    """One file: its path below the bundle's folder, with ``/``, its size in bytes, its sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """Files that go together; ``name`` is for people and does not count."""

    name: str
    files: tuple[FileEntry, ...]

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits, the same for the same files under the same paths."""
        ordered = sorted(self.files, key=lambda file: file.path)
        return hashlib.sha256(json_bytes(to_json(ordered))).hexdigest()

    @cached_property
    def blobs(self) -> dict[str, int]:
        """Sizes by sha256: files with equal contents are sent and kept once."""
        return {file.sha256: file.size for file in self.files}

    @property
    def bytes(self) -> int:
        """How much is to be sent where nothing of it is there."""
        return sum(self.blobs.values())

    def check(self) -> Bundle:
        """This, if it is sound. Raises :class:`InputError`: it may come from another machine."""
        if not 0 < len(self.files) <= MOST_FILES:
            raise InputError(f"{self.name}: {len(self.files):,} files, not 1 to {MOST_FILES:,}")
        seen: set[str] = set()
        for file in self.files:
            safe_path(file.path)
            if file.path in seen:
                raise InputError(f"{self.name}: {quoted(file.path)} is listed twice")
            seen.add(file.path)
            if file.size < 0 or not _SHA256.fullmatch(file.sha256):
                raise InputError(f"{self.name}: {quoted(file.path)} has an odd size or checksum")
        for path in seen:
            if any(str(parent) in seen for parent in PurePosixPath(path).parents):
                raise InputError(f"{self.name}: {quoted(path)} lies below a file")
        return self


def is_sha256(text: str) -> bool:
    """Whether it may name a bundle or a blob; what does not must never become part of a path."""
    return _SHA256.fullmatch(text) is not None


def safe_path(text: str) -> PurePosixPath:
    """A relative path that stays below its folder. Raises :class:`InputError` for any other."""
    path = PurePosixPath(text)
    if (
        not text
        or len(text) > LONGEST_PATH
        or not text.isprintable()
        or "\\" in text
        or path.is_absolute()
        or any(part in ("", ".", "..") for part in text.split("/"))
    ):
        raise InputError(f"{quoted(text)} is not a path below a folder")
    return path


def below(folder: Path, text: str) -> Path:
    """The file of this relative path, which no link on the way may lead out of the folder.

    Raises :class:`InputError` for one that leads out, whether it is there or not.
    """
    path = folder.joinpath(*safe_path(text).parts)
    real, base = path.resolve(), folder.resolve()
    if base not in real.parents:
        raise InputError(f"{quoted(text)} leads out of {folder}")
    return path


def digest_of(path: Path, tell: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 of a file's contents; ``tell`` hears how many bytes each step has read."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            found.update(data)
            tell(len(data))
    return found.hexdigest()


def bundle_of(
    source: Path,
    name: str = "",
    *,
    digest: Callable[[Path], str] = digest_of,
    wanted: Callable[[str], bool] = lambda path: True,
    within: Path | None = None,
) -> Bundle:
    """What a file or a folder holds. Reads all of it, unless ``digest`` knows better.

    ``wanted`` chooses by the relative path; links may lead to files below ``within``, which is the
    folder itself where nothing else is said. Raises :class:`InputError` for what must not travel,
    OSError for what cannot be read.
    """
    name = name or source.name
    entries = []
    for path, text in _listed(source, (within or source).resolve()):
        if not wanted(text):
            continue
        entries.append(FileEntry(text, path.stat().st_size, digest(path)))
        if len(entries) > MOST_FILES:
            raise InputError(f"{source} holds more than {MOST_FILES:,} files")
    if not entries:
        raise InputError(f"{source} holds no file that could be used")
    return Bundle(name, tuple(sorted(entries, key=lambda file: file.path))).check()


def _listed(source: Path, base: Path) -> Iterator[tuple[Path, str]]:
    """Files with their relative paths. A link that leads out of the base is refused."""
    if source.is_file():
        yield source, source.name
        return
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(n for n in folders if n not in (".git", "__pycache__", ".cache"))
        for name in (*folders, *sorted(names)):
            path = Path(folder) / name
            text = path.relative_to(source).as_posix()
            if path.is_symlink() and base not in path.resolve().parents:
                raise InputError(
                    f"{path} is a link that leads out of {source}",
                    hint="put the file itself there, or name the folder that it lies in",
                )
            mode = path.stat().st_mode
            if stat.S_ISREG(mode):
                yield path, text
            elif path.is_symlink():
                raise InputError(
                    f"{path} is a link to a folder", hint="put the folder itself there"
                )
            elif not stat.S_ISDIR(mode):
                raise InputError(f"{path} is neither a file nor a folder")


def is_pickle(path: str) -> bool:
    """Whether reading a file of this name as weights would run what stands in it."""
    return path.endswith(PICKLES)


def refuse_pickles(folder: Path, paths: Iterable[str]) -> None:
    """Raise :class:`InputError` for a model whose weights are there as pickles only."""
    paths = list(paths)
    pickles = [path for path in paths if is_pickle(path)]
    if pickles and not any(path.endswith(".safetensors") for path in paths):
        raise InputError(
            f"{folder} has its weights as a pickle ({pickles[0]}), which can run code when it is"
            " read",
            hint="save it as safetensors: save_pretrained(FOLDER, safe_serialization=True)",
        )


def needed_of_model(path: str) -> bool:
    """Whether a file of a model's folder is needed to run it: no weights in other forms, no text
    for people, nothing hidden."""
    name = path.rpartition("/")[2]
    return not name.startswith(".") and not path.endswith(OTHER_FORMS)

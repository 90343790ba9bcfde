"""Writes the files of a new policy."""

from __future__ import annotations

from pathlib import Path

from jetsched.errors import InputError
from jetsched.policies import describe
from jetsched.policies.template import check_name, policy_text, tests_text


def write_policy(name: str, folder: Path, *, tests: bool = False) -> list[Path]:
    """Write ``NAME.py``, and with ``tests`` ``test_NAME.py``; returns what was written.

    Raises :class:`InputError` for a name that will not do, a folder that is not there, and where
    one of the files is there already: nothing is written then.
    """
    check_name(name, [policy.name for policy in describe()])
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", hint=f"mkdir -p {folder}")
    texts = {folder / f"{name}.py": policy_text(name)}
    if tests:
        texts[folder / f"test_{name}.py"] = tests_text(name)
    for path in texts:
        if path.exists() or path.is_symlink():
            raise InputError(f"{path} is there already", hint="name another, or remove it")
    for path, text in texts.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:  # it came this very moment
            raise InputError(f"{path} is there already") from None
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
    return list(texts)

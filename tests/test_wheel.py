"""The wheel is whole, and works where nothing of this source tree is in reach."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scheduler", "profiler", "policies", "cluster", "examples")

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output; a failure shows both streams."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves a build folder, and old files in it would count."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("jetsched", *FOLDERS):
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", "dist", cwd=source)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has nothing to do with this source tree."""
    return tmp_path_factory.mktemp("elsewhere")


def installed_names() -> set[str]:
    """What the wheel must hold, by the names that it has there."""
    files = {f"jetsched/{p.name}" for p in (ROOT / "jetsched").iterdir() if p.is_file()}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            if path.is_file() and not any(p.startswith((".", "__pycache__")) for p in name.parts):
                files.add(f"jetsched/{name}")
    return files


def test_the_wheel_holds_every_file_of_the_six_folders_and_nothing_else(wheel: Path) -> None:
    """Modules and data alike; the only other thing at its top is its own metadata."""
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert names == installed_names()


def test_the_licence_travels_with_the_wheel(wheel: Path) -> None:
    """Apache-2.0 asks for it."""
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_core_does_not_ask_for_torch(wheel: Path) -> None:
    """torch is an extra: on a board it is NVIDIA's own and lives in another interpreter."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    wants = [x for x in archive.read(metadata).decode().splitlines() if "Requires-Dist" in x]
    assert wants
    assert not [w for w in wants if "torch" in w and "extra ==" not in w]


@pytest.fixture(scope="module")
def empty_python(wheel: Path, elsewhere: Path) -> Path:
    """An environment with the wheel and exactly what it asks for, brought by pip."""
    run(sys.executable, "-m", "venv", "env", cwd=elsewhere)
    python = elsewhere / "env" / "bin" / "python"
    install(python, str(wheel))
    return python


def install(python: Path, what: str) -> None:
    command = (python, "-m", "pip", "install", "--quiet", "--progress-bar", "off", what)
    run(*command, cwd=python.parent)


def import_all(python: Path, *but: str) -> Path:
    """Have every module imported whose name begins with none of these; returns where they are."""
    # The workload side runs by path and wants torch; __main__ would start the command.
    left_out = ("jetsched.__main__", "jetsched.profiler.child", *but)
    script = (
        "import importlib, pathlib, pkgutil, jetsched\n"
        "for module in pkgutil.walk_packages(jetsched.__path__, 'jetsched.'):\n"
        f"    if not module.name.startswith({left_out!r}):\n"
        "        importlib.import_module(module.name)\n"
        "print(jetsched.__file__)"
    )
    return Path(run(python, "-c", script, cwd=python.parent).strip())


def test_the_wheel_works_in_an_empty_environment(empty_python: Path, elsewhere: Path) -> None:
    """Installed by pip with exactly what it asks for, it imports whole and its command answers.

    But for the pages: they want an extra.
    """
    assert import_all(empty_python, "jetsched.cluster.ui").is_relative_to(elsewhere)
    command = empty_python.with_name("jetsched")
    assert "Usage" in run(command, "--help", cwd=elsewhere)
    assert "earliest_finish" in run(command, "policies", cwd=elsewhere)


def test_with_its_extra_the_wheel_has_the_pages(wheel: Path, empty_python: Path) -> None:
    """Their modules, their templates and the files that browsers ask for."""
    install(empty_python, f"{wheel}[ui]")
    import_all(empty_python)
    script = (
        "from jetsched.cluster.ui_base import WEB, _environment\n"
        "for name in _environment().list_templates(['html']): _environment().get_template(name)\n"
        "print(*sorted(p.suffix for p in (WEB / 'static').iterdir()))"
    )
    assert {".css", ".js", ".svg"} <= set(run(empty_python, "-c", script, cwd=wheel.parent).split())

"""The shape of the source tree: links, import names, and what runs on a board's own Python.

That import arrows point down is held by import-linter (`make check`), not here.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scheduler", "profiler", "policies", "cluster")

#: They run by path on the board's Python, 3.8 on JetPack 5, where jetsched is not installed.
CHILD = sorted((ROOT / "profiler").glob("child*.py"))
#: By path too, with nothing at hand but the standard library and its own parts.
SUPERVISOR = [ROOT / "profiler" / f"{name}.py" for name in ("supervisor", "supervising", "procfs")]
WORKLOAD_SIDE = [*CHILD, *SUPERVISOR]


def imported_names(path: Path) -> set[str]:
    """The first part of every absolute import in a file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("folder", [*FOLDERS, "examples"])
def test_each_folder_at_the_top_is_also_seen_below_jetsched(folder: str) -> None:
    """mypy, import-linter and editors find the import names through these committed links."""
    link = ROOT / "jetsched" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_stay_flat(folder: str) -> None:
    """The packages are listed by hand in pyproject.toml; a nested one would be left out."""
    nested = [p for p in (ROOT / folder).glob("*/**/*.py") if "__pycache__" not in p.parts]
    assert nested == []
    assert (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("path", CHILD, ids=lambda p: p.name)
def test_the_workload_side_is_python_3_8_and_imports_nothing_of_jetsched(path: Path) -> None:
    """Its syntax at least: what it calls is shown by running it (`make test-jetpack5`)."""
    ast.parse(path.read_text(), feature_version=(3, 8))
    assert "jetsched" not in imported_names(path)


@pytest.mark.parametrize("path", SUPERVISOR, ids=lambda p: p.name)
def test_the_supervisor_needs_the_standard_library_and_its_own_parts_only(path: Path) -> None:
    """It stands between the agent and the workload, and nothing may keep it from starting."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    assert imported_names(path) - {"jetsched"} <= sys.stdlib_module_names
    ours = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jetsched")
        for alias in node.names
    }
    assert ours <= {f"jetsched.profiler.{part.stem}" for part in SUPERVISOR}


def test_the_core_depends_on_exactly_what_it_imports() -> None:
    """Nothing is installed for nothing, nothing is there only because something else wants it."""
    files = [p for f in ("jetsched", *FOLDERS) for p in (ROOT / f).glob("*.py")]
    pages = [p for p in files if p.parent.name == "cluster" and p.name.startswith("ui")]
    core = [p for p in files if p not in WORKLOAD_SIDE and p not in pages]
    needed, extra = declared(r"^dependencies = \[(.*?)^\]"), declared(r"^ui = \[(.*?)\]$")
    assert unmatched(core, needed, needed) == (set(), set())
    assert unmatched(pages, needed | extra, extra) == (set(), set())


def declared(pattern: str) -> set[str]:
    """Names of distributions in a list of pyproject.toml.

    From the file, since installed metadata may be older; Python 3.10 has no tomllib.
    """
    found = re.search(pattern, (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return {canonical(requirement) for requirement in re.findall(r'"([^"]+)"', found[1])}


def unmatched(files: list[Path], allowed: set[str], needed: set[str]) -> tuple[set[str], set[str]]:
    """Modules that files import though they are not allowed, and needed ones that none does."""
    imported = {n for p in files for n in imported_names(p)}
    # pydantic asks for exactly one version of pydantic_core: they are one thing.
    imported -= {"jetsched", "pydantic_core", *sys.stdlib_module_names}
    providers = distributions_by_module()
    undeclared = {name for name in imported if not providers.get(name, set()) & allowed}
    unused = needed - {d for name in imported for d in providers.get(name, set())}
    return undeclared, unused


def distributions_by_module() -> dict[str, set[str]]:
    """Who provides a module; several may share a name, as `ruamel` is shared.

    ``importlib.metadata.packages_distributions`` misses most wheels on Python 3.10.
    """
    providers: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = canonical(distribution.metadata["Name"])
        for file in distribution.files or []:
            providers.setdefault(file.parts[0].removesuffix(".py"), set()).add(name)
    return providers


def canonical(requirement: str) -> str:
    """The name of a distribution as the index compares it, without its bounds."""
    name = re.split(r"[^\w.-]", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()

"""tools/setup.py: which torch comes in, and what a broken-off set-up leaves is mended.

A whole set-up is not repeated here: `.ci/run` is one, from a fresh clone.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("tools_setup", ROOT / "tools/setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tools_setup", module)
    spec.loader.exec_module(module)
    return module


def report(folder: Path, *packages: str) -> Path:
    """A file as `pip install --report` writes it."""
    entries = [{"metadata": {"name": name, "version": "1.0"}} for name in packages]
    path = folder / "report.json"
    path.write_text(json.dumps({"install": entries}))
    return path


def test_a_plan_without_cuda_packages_is_the_cpu_build(setup: ModuleType, tmp_path: Path) -> None:
    plan = setup.read_plan([], report(tmp_path, "torch", "sympy", "cudatext"))
    assert plan is not None and not plan.cuda


@pytest.mark.parametrize("package", ["nvidia-cublas", "cuda-toolkit", "triton", "nvidia-nccl-cu13"])
def test_a_plan_with_cuda_packages_is_the_cuda_build(
    setup: ModuleType, tmp_path: Path, package: str
) -> None:
    plan = setup.read_plan([], report(tmp_path, "torch", package))
    assert plan is not None and plan.cuda


def test_a_big_download_is_stopped_as_soon_as_it_is_announced(
    setup: ModuleType, tmp_path: Path
) -> None:
    """Some indexes give no metadata apart from the wheel, and pip then fetches the wheel itself."""

    def output() -> Iterator[str]:
        yield "  Downloading filelock-4.2.12-py3-none-any.whl (222 kB)\n"
        yield "  Downloading torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl (526.6 MB)\n"
        pytest.fail("read on after the big download began")

    assert setup.read_plan(output(), tmp_path / "absent.json") is None


def test_no_version_for_this_python_is_an_empty_plan(setup: ModuleType, tmp_path: Path) -> None:
    plan = setup.read_plan(["ERROR: No matching distribution"], tmp_path / "absent.json")
    assert plan == setup.Plan((), cuda=False)


class RecordingEnvironment:
    """Implements what install_torch() uses, and remembers what was installed by what."""

    def __init__(self, folder: Path, torch: str = "") -> None:
        self.folder = folder
        self.python = folder / "bin/python"
        self.commands: list[str] = []
        self.torch = torch

    def pip(self, *arguments: str) -> None:
        self.commands.append("pip " + " ".join(arguments))

    def run(self, command: list[str], title: str) -> None:
        self.commands.append(" ".join([Path(command[0]).name, *command[1:3], *command[5:]]))

    def torch_version(self) -> str:
        return self.torch


@pytest.mark.parametrize(
    ("cuda", "gpu", "expected"),
    [
        (False, False, ["pip install torch==2.13.0"]),
        (False, True, ["pip install torch==2.13.0"]),
        (True, True, ["pip install torch==2.13.0"]),
        (True, False, ["pip install uv", "uv pip install --torch-backend=cpu torch==2.13.0"]),
    ],
)
def test_cuda_libraries_come_in_only_where_there_is_a_gpu(
    setup: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cuda: bool,
    gpu: bool,
    expected: list[str],
) -> None:
    monkeypatch.delenv("JETSCHED_TORCH_SPEC", raising=False)
    monkeypatch.setattr(setup, "ask_pip", lambda env, what: setup.Plan(("torch 2.13.0",), cuda))
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: gpu)
    env = RecordingEnvironment(tmp_path)
    setup.install_torch(env)
    assert env.commands == expected


def test_a_torch_that_is_there_is_kept(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JETSCHED_TORCH_SPEC", raising=False)
    env = RecordingEnvironment(tmp_path, torch="2.9.1")
    setup.install_torch(env)
    assert env.commands == []


def test_a_person_can_name_the_torch(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JETSCHED_TORCH_SPEC", "'/my wheels/torch.whl' --no-deps")
    env = RecordingEnvironment(tmp_path, torch="2.9.1")
    setup.install_torch(env)
    assert env.commands == ["pip install /my wheels/torch.whl --no-deps"]


def test_a_torch_that_was_named_and_cannot_be_had_is_an_error(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a name, set-up goes on without torch; with one, that would hide the mistake."""
    monkeypatch.setenv("JETSCHED_TORCH_SPEC", "/absent.whl")
    env = setup.Environment(tmp_path)
    env.python = Path("/bin/false")
    monkeypatch.setattr(setup, "is_jetson", lambda: False)
    with pytest.raises(setup.SetupError, match=r"absent\.whl"):
        setup.bring_in_torch(env)


def test_a_jetson_is_known_by_its_release_file(setup: ModuleType, tmp_path: Path) -> None:
    assert not setup.is_jetson(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3\n")
    assert setup.is_jetson(tmp_path)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda text: text.replace('"ray>=', '"ray>1,>='), True),
        (lambda text: text.replace("line-length = 100", "line-length = 90"), False),
        (lambda text: text.replace('["data/**"]', '["data/*"]'), True),
    ],
)
def test_only_what_changes_the_installation_makes_it_stale(
    setup: ModuleType, tmp_path: Path, change: Callable[[str], str], stale: bool
) -> None:
    """Linter settings stand in the same file, and must not cost a set-up."""
    before = (ROOT / "pyproject.toml").read_text()
    after = change(before)
    assert after != before
    same = setup.project_key(before, tmp_path) == setup.project_key(after, tmp_path)
    assert same is not stale


def test_an_environment_that_moved_is_stale(setup: ModuleType, tmp_path: Path) -> None:
    """The scripts of a virtual environment name the folder it was made in."""
    assert setup.project_key("", tmp_path) != setup.project_key("", tmp_path / "moved")


@pytest.mark.slow
def test_a_half_made_environment_starts_afresh(setup: ModuleType, tmp_path: Path) -> None:
    """Killed while it was created: nothing in the folder can be trusted."""
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").write_text("")
    env = setup.Environment(folder)
    env.write_state(setup.State("creating"))
    env.pip = lambda *arguments: None
    env.create()
    assert env.state() == setup.State("installing")
    assert setup.subprocess.check_output([env.python, "-c", "print(1)"], text=True) == "1\n"


def test_an_environment_made_by_hand_is_taken_over_as_it_is(
    setup: ModuleType, tmp_path: Path
) -> None:
    env = setup.Environment(tmp_path)
    env.python.parent.mkdir()
    env.python.symlink_to(sys.executable)
    (tmp_path / "mine.txt").write_text("kept")
    env.pip = lambda *arguments: None
    env.create()
    assert (tmp_path / "mine.txt").read_text() == "kept"
    assert env.state() == setup.State("installing")


def test_a_package_that_was_half_installed_is_installed_again(
    setup: ModuleType, tmp_path: Path
) -> None:
    """pip takes one with METADATA for installed, although RECORD and the scripts come last."""
    packages = tmp_path / "lib/python3.11/site-packages"
    for name, files in {"whole": ["METADATA", "RECORD"], "half": ["METADATA"]}.items():
        folder = packages / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_text("")
    setup.Environment(tmp_path).remove_half_installed()
    assert [p.name for p in packages.iterdir()] == ["whole-1.0.dist-info"]


def test_a_failed_step_says_what_failed_and_where_all_of_it_stands(
    setup: ModuleType, tmp_path: Path
) -> None:
    env = setup.Environment(tmp_path)
    env.log.write_text("an earlier step, in letters of several bytes: ✓✓✓\n")
    script = "import sys; print('ERROR: no space left'); print('noise'); sys.exit(3)"
    with pytest.raises(setup.SetupError) as caught:
        env.run([sys.executable, "-c", script], "pip install torch")
    text = str(caught.value)
    assert "pip install torch ended with exit code 3" in text
    assert "no space left" in text and "noise" not in text
    assert str(env.log) in text and "noise" in env.log.read_text()

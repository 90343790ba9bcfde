"""tools/check_docs.py finds what the project does not bear out (`make docs`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def check_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "tools/check_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[x](absent.md)", "link to absent.md: no such file"),
        ("[x](#nowhere)", "link to #nowhere: no such heading"),
        ("see `docs/absent.md`", "docs/absent.md: no such file"),
        ("run `make absent`", "make has no target absent"),
        ("```\n$ jetsched absent\n```", "jetsched has no verb absent"),
    ],
)
def test_what_does_not_exist_is_found(
    check_docs: ModuleType, tmp_path: Path, text: str, finding: str
) -> None:
    document = tmp_path / "README.md"
    document.write_text(text + "\n")
    (found,) = check_docs.findings(document, tmp_path, {"demo"}, {"plan"})
    assert found.startswith("README.md:") and found.endswith(finding)


def test_what_exists_is_accepted(check_docs: ModuleType, tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(
        "# The two `commands`\n[a](#the-two-commands) [b](README.md) [c](https://x.invalid/absent)\n"
        "`make demo`, `jetsched plan FILE`\n"
        "```\n[not](a-link) in a block\njetsched plan job.yaml\n```\n"
    )
    assert list(check_docs.findings(document, tmp_path, {"demo"}, {"plan"})) == []


def test_every_document_holds_what_it_promises(
    check_docs: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Links, paths, make targets and verbs of this project's own documents."""
    code = check_docs.main()
    assert code == 0, capsys.readouterr().out

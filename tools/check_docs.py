"""Check the documents against the project: links, paths, make targets, verbs (`make docs`).

Prints one line per finding and exits 1 when there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```")
HEADING = re.compile(r"^#+\s+(.*?)\s*$")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
REPOSITORY_PATH = re.compile(
    r"^(?:docs|examples|tools|scheduler|profiler|policies|cluster|tests|jetsched)/[\w./-]+$"
)
MAKE_TARGET = re.compile(r"^(?:\$ )?make ([a-z][a-z0-9-]*)")
VERB = re.compile(r"^(?:\$ )?jetsched ([a-z]+)")


def documents(root: Path) -> list[Path]:
    return sorted(p for p in [*root.glob("*.md"), *root.glob("docs/**/*.md")] if p.is_file())


def anchor(heading: str) -> str:
    """The name that a web view of the repository gives to a heading."""
    kept = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower())
    return re.sub(r"\s", "-", kept.strip())


def prose_and_code(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line with its number, and whether it stands in a fenced block."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
            continue
        yield number, line, fenced


def anchors(document: Path) -> set[str]:
    lines = prose_and_code(document.read_text())
    return {
        anchor(found[1])
        for _, line, fenced in lines
        if not fenced and (found := HEADING.match(line))
    }


def broken_link(target: str, document: Path) -> str:
    """What is wrong with a link, or an empty text; addresses on the web are not asked."""
    if re.match(r"[a-z]+:", target):
        return ""
    path, _, part = target.partition("#")
    pointed = (document.parent / path).resolve() if path else document
    if not pointed.exists():
        return f"link to {target}: no such file"
    if part and pointed.suffix == ".md" and part not in anchors(pointed):
        return f"link to {target}: no such heading"
    return ""


def findings(document: Path, root: Path, targets: set[str], verbs: set[str]) -> Iterator[str]:
    """Everything in one document that the project does not bear out."""
    for number, line, fenced in prose_and_code(document.read_text()):
        where = f"{document.relative_to(root)}:{number}"
        if not fenced:
            for target in LINK.findall(line):
                if wrong := broken_link(target, document):
                    yield f"{where}: {wrong}"
        for code in [line.strip()] if fenced else INLINE_CODE.findall(line):
            if REPOSITORY_PATH.match(code) and not (root / code).exists():
                yield f"{where}: {code}: no such file"
            if (made := MAKE_TARGET.match(code)) and made[1] not in targets:
                yield f"{where}: make has no target {made[1]}"
            if (said := VERB.match(code)) and said[1] not in verbs:
                yield f"{where}: jetsched has no verb {said[1]}"


def make_targets(root: Path) -> set[str]:
    text = (root / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z0-9-]*):", text, flags=re.MULTILINE))


def cli_verbs() -> set[str]:
    """The verbs of the command line, asked of the program itself."""
    script = (
        "import typer.main, jetsched.cli as c\n"
        "print(*typer.main.get_command(c.app).list_commands(None))"
    )
    command = [sys.executable, "-c", script]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def main() -> int:
    targets, verbs = make_targets(ROOT), cli_verbs()
    found = [f for d in documents(ROOT) for f in findings(d, ROOT, targets, verbs)]
    everything = "\n".join(d.read_text() for d in documents(ROOT))
    found += [
        f"README.md, docs/: nothing says what `jetsched {verb}` does"
        for verb in sorted(verbs)
        if not re.search(rf"jetsched {verb}\b|`{verb}[` ]", everything)
    ]
    for line in found:
        print(line)
    print(f"{len(documents(ROOT))} documents, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

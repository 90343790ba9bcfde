"""Fields of a file that an option changes, ``--set work.batch_size=4``, before it is checked.

Values are written as they would be in the file. What is wrong with one is reported like any other
problem of the file, only that the option stands where others have a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jetsched.problems import FileProblems, Problem, dotted, quoted
from jetsched.yamlfile import Document, Node, parse_document

OPTION = "--set"
_FORM = f"write e.g. {OPTION} work.batch_size=4"


class _NoFields(Exception):
    """A field is to be set in something that has none; the argument is its path."""


def override(document: Document, changes: Sequence[str]) -> None:
    """Set fields of a parsed file: each change is ``KEY=VALUE`` with a dotted key; the last wins.

    A section that is not there is made. Mistakes are noted among the document's problems.
    """
    if not isinstance(document.root.children, dict):
        return  # reported with the file
    for change in changes:
        key, equals, text = change.partition("=")
        origin = f"{OPTION} {change}"
        keys = [part.strip() for part in key.split(".")]
        if not equals or not all(keys):
            _note(document, origin, "needs KEY=VALUE", _FORM)
            continue
        if not text.strip():
            _note(document, origin, "has no value", "null unsets a field")
            continue
        try:
            value = parse_document(text, origin)
            for found in value.problems:
                _note(document, origin, found.message, found.hint)
            document.root = _with(document.root, keys, _marked(value.root, origin), origin)
        except FileProblems as error:
            first = error.problems[0]
            _note(document, origin, first.message, first.hint)
        except _NoFields as error:
            part = dotted(error.args[0])
            _note(document, origin, f"{quoted(part)} has no fields", _FORM)


def _note(document: Document, origin: str, message: str, hint: str) -> None:
    document.problems.append(Problem(document.file, 0, 0, origin, message, hint))


def _marked(node: Node, origin: str) -> Node:
    """The same tree, all of it set by the option."""
    children = node.children
    if isinstance(children, dict):
        children = {name: _marked(child, origin) for name, child in children.items()}
    elif isinstance(children, list):
        children = [_marked(child, origin) for child in children]
    return replace(node, children=children, origin=origin)


def _with(node: Node, keys: Sequence[str], new: Node, origin: str, depth: int = 0) -> Node:
    """The node with another one at a path below it. Nothing is changed in place: an alias of the
    file may share it."""
    if depth == len(keys):
        return new
    if node.value is None:  # an empty section, or one that is made
        node = Node({}, node.line, node.column, {}, origin=node.origin)
    if not isinstance(node.children, dict):
        raise _NoFields(keys[:depth])
    below = node.children.get(keys[depth], Node(None, 0, 0, origin=origin))
    children = {**node.children, keys[depth]: _with(below, keys, new, origin, depth + 1)}
    values = {name: child.value for name, child in children.items()}
    return replace(node, value=values, children=children)

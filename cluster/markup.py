"""HTML from parts: whatever is not markup itself is escaped, so that a name stays a name."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup, to be taken as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """For templates: it is not escaped again."""
        return self


#: Elements without content.
_VOID = frozenset({"img", "meta", "source", "br"})


def tag(name: str, /, *content: str, **attributes: str | None) -> Html:
    """An element. Content is escaped unless it is :class:`Html`; None leaves an attribute out.

    ``class_`` is the attribute ``class``, ``data_label`` is ``data-label``.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(content)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after the other, escaped unless they are markup."""
    return Html(between.join(part if isinstance(part, Html) else escape(part) for part in parts))


def data_uri(data: bytes, kind: str) -> str:
    """A picture as an address that holds it: ``image/png``."""
    return f"data:{kind};base64,{b64encode(data).decode('ascii')}"

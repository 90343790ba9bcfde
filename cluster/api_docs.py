"""The page at /docs: the routes as the OpenAPI description has them, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:13px/1.5 ui-monospace,monospace}
pre{background:#8881;padding:.6rem;overflow:auto}
details{border-bottom:1px solid #8883;padding:.3rem 0}
summary{cursor:pointer}
summary b{display:inline-block;width:4rem}
td{padding:.1rem 1rem .1rem 0;vertical-align:top}
:root{color-scheme:light dark}
"""
#: No script, no picture, no font, and nothing from another place.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def add_docs_page(app: FastAPI) -> None:
    """Put the page into the application; it is made once, from the description."""
    page = ""

    @app.get("/docs", tags=["open"], response_class=HTMLResponse, include_in_schema=False)
    def docs() -> HTMLResponse:
        nonlocal page
        page = page or docs_page(app.openapi())
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def docs_page(openapi: dict[str, Any]) -> str:
    """The page for an OpenAPI description."""
    title = f"{openapi['info']['title']} {openapi['info']['version']}"
    groups: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            group = (route.get("tags") or ["other"])[0]
            groups.setdefault(group, []).append(_route(method, path, route, openapi))
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(found)}" for name, found in groups.items())
    about = "".join(
        f"<p>{_code(part)}</p>" for part in openapi["info"].get("description", "").split("\n\n")
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{about}"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{body}</html>'
    )


def _route(method: str, path: str, route: dict[str, Any], openapi: dict[str, Any]) -> str:
    text = _code(route.get("description") or route.get("summary", ""))
    rows = [
        (f"{p['name']} ({p['in']})", _type(p["schema"]), p.get("description", ""))
        for p in route.get("parameters", ())
    ]
    content = route.get("requestBody", {}).get("content", {})
    for media in content.values():
        schema = _resolve(media.get("schema", {}), openapi)
        required = schema.get("required", ())
        rows += [
            (f"{name}{' *' if name in required else ''} (body)", _type(field), "")
            for name, field in schema.get("properties", {}).items()
        ]
    table = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{_code(about)}</td></tr>"
        for name, kind, about in rows
    )
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code></summary>"
        f"<p>{text}</p><table>{table}</table></details>"
    )


def _resolve(schema: dict[str, Any], openapi: dict[str, Any]) -> dict[str, Any]:
    found: Any = openapi
    for part in schema.get("$ref", "").split("/")[1:]:
        found = found[part]
    return schema if found is openapi else found


def _type(schema: dict[str, Any]) -> str:
    """A schema in a word or a few."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _code(text: str) -> str:
    """Escaped, and what stands in backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))

"""Docstrings on pages: links, signatures and first lines.

A docstring writes `conv_transpose` and `padding` in the same way. A name that is public becomes a link to it. A name
that begins with "unstride." and does not exist is a warning, and so an error of the build.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode


def resolve(app: Sphinx, env: Any, node: Any, contnode: Any) -> nodes.Node | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if target.startswith("unstride."):
        return None
    found = env.domains["py"].objects.get(f"unstride.{target}")
    if found is None:
        return contnode
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, contnode, f"unstride.{target}")


def shorten(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: Any) -> Any:  # noqa: ARG001
    """``**misnamed`` only collects wrong names, for better errors."""
    return None if signature is None else (signature.replace(", **misnamed)", ")"), returned)


COLON = "\ue000"  # for private use: in no docstring


def hide_colon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Napoleon takes what a property's first line has before a colon for its type. Ours are sentences."""
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(":", COLON)


def show_colon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    lines[:] = [line.replace(COLON, ":") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", resolve, priority=900)  # after intersphinx
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", hide_colon, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", show_colon, priority=900)  # after it
    return {"parallel_read_safe": True, "parallel_write_safe": True}

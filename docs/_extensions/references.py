"""Links from docstrings: short names of ours become links, names of parameters stay plain code.

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


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", resolve, priority=900)  # after intersphinx
    return {"parallel_read_safe": True, "parallel_write_safe": True}

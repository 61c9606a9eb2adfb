"""What the pages show and unstride computes when the site is built: tables, and the explorer's pages.

``{arguments}`` is a table of geometries in every framework's arguments. ``{explorer} NAME`` is the explorer, opened on
the example of that name (`unstride.explainer.presets`), in a frame.
"""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import unstride as us
from unstride.explainer.presets import PRESETS

FOLDER = "explorer"
# In a frame the page around it has a title, and says whether it is light or dark (_static/explorer.js).
FRAMED = """<style>html.framed header { display: none; }</style>
<script>
document.documentElement.classList.toggle("framed", parent !== window);
addEventListener("message", ({ source, data }) => {
  if (source === parent && data.theme) document.documentElement.dataset.theme = data.theme;
});
</script>
</head>"""
FRAMEWORKS = {"keras": "Keras", "torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX", "onnx": "ONNX"}
SIZE = 7  # of the input: TensorFlow's arguments contain sizes

CASES = {
    "k4 s2 p1": us.Geometry(4, stride=2, padding=1),
    "k2 s2": us.Geometry(2, stride=2),
    "k3 s2 p1 op1": us.Geometry(3, stride=2, padding=1, output_padding=1),
    "k3 s2 same": us.Geometry(3, stride=2, padding="same"),
    "k3 s1 same": us.Geometry(3, padding="same"),
    "k5 s2 same": us.Geometry(5, stride=2, padding="same"),
    "k3 s2, causal": us.Geometry(3, stride=2, padding=((0, 1),)),
    "k2 s3": us.Geometry(2, stride=3),
    "k3 s2 d2": us.Geometry(3, stride=2, dilation=2),
}


def short(arguments: dict[str, Any]) -> str:
    """Arguments as they are written in a call, as Markdown, without kernel size, stride and defaults."""
    hidden = {"kernel_size", "kernel_shape", "strides", "stride", "groups", "group"}
    hidden |= {"transpose_kernel", "output_shape"}
    defaults: dict[str, Any] = {"dilation": (1,), "dilations": (1,), "dilation_rate": (1,), "rhs_dilation": (1,),
                                "output_padding": ((0,), None)}  # fmt: skip
    parts = []
    for name, value in arguments.items():
        usual = defaults.get(name, ())
        if name in hidden or value == usual or value in usual:
            continue
        parts.append(f"`{name}={_bare(value)}`")
    return " ".join(parts) or "(defaults)"


def _bare(value: Any) -> str:
    return repr(value[0]) if isinstance(value, tuple) and len(value) == 1 else repr(value)


class Arguments(SphinxDirective):
    """A row for each case, a column for each framework."""

    def run(self) -> list[nodes.Node]:
        lines = ["| case | crop | size | " + " | ".join(FRAMEWORKS.values()) + " |"]
        lines.append("|---" * (3 + len(FRAMEWORKS)) + "|")
        for name, geometry in CASES.items():
            cells = [
                name.replace(" ", "\N{NO-BREAK SPACE}"),
                f"`{geometry.crops[0]}`",
                str(geometry.output_size(SIZE)[0]),
            ]
            for framework in FRAMEWORKS:
                try:
                    cells.append(short(geometry.to(framework, SIZE)))
                except us.NotExpressible:
                    cells.append("–")
            lines.append("| " + " | ".join(cells) + " |")
        table = self.parse_text_to_nodes("\n".join(lines))
        for node in table:
            node["classes"].append("arguments")
        return table


class Refusals(SphinxDirective):
    """Why one call is not enough, and what to do."""

    def run(self) -> list[nodes.Node]:
        lines = ["| case | framework | reason | instead |", "|---|---|---|---|"]
        for name, geometry in CASES.items():
            for framework, title in FRAMEWORKS.items():
                try:
                    geometry.to(framework, SIZE)
                except us.NotExpressible as error:
                    lines.append(f"| {name} | {title} | {error.reason} | {error.recipe} |")
        return self.parse_text_to_nodes("\n".join(lines))


class Explorer(Directive):
    required_arguments = 1
    option_spec = {"view": directives.unchanged}  # noqa: RUF012 - docutils' name

    def run(self) -> list[nodes.Node]:
        name, view = self.arguments[0], self.options.get("view")
        env = self.state.document.settings.env
        env.explorers = getattr(env, "explorers", set()) | {(name, view)}
        source = f"{FOLDER}/{_file(name, view)}"
        up = "../" * env.docname.count("/")
        title = html.escape(PRESETS[name].title)
        frame = f'<iframe class="explorer" src="{up}{source}" title="Explorer: {title}" loading="lazy"></iframe>'
        link = f'<p class="explorer-link"><a href="{up}{source}">The explorer on a page of its own</a></p>'
        return [nodes.raw("", frame + link, format="html")]


def _file(name: str, view: str | None) -> str:
    return f"{name}-{view}.html" if view else f"{name}.html"


def write_explorers(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        (app.outdir / FOLDER).mkdir(exist_ok=True)
        for name, view in sorted(getattr(app.env, "explorers", ()), key=str):
            page = PRESETS[name].trace().html(view=view).replace("</head>", FRAMED, 1)
            (app.outdir / FOLDER / _file(name, view)).write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("arguments", Arguments)
    app.add_directive("refusals", Refusals)
    app.add_directive("explorer", Explorer)
    app.connect("build-finished", write_explorers)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

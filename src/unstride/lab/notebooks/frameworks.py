# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 5 of the lab: one setting in five conventions, the traps, and solving for sizes."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="5. In your framework", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    from html import escape

    import marimo as mo
    import numpy as np

    import unstride as us
    from unstride.explainer.settings import NAMES
    from unstride.lab import page
    from unstride.lab.content import traps
    from unstride.lab.widgets import Numbers

    page.header("frameworks")
    return NAMES, Numbers, escape, mo, np, page, traps, us


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    All frameworks compute the same operation. They differ in the meaning of their arguments: how many cells the padding
    crops at the beginning and at the end, which size “same” aims at, whether the kernel is flipped. Here a setting is a
    kernel size, a stride, a dilation and a **crop** $(b, e)$; the rest is translation.

    ## One setting, five conventions
    """)
    return


@app.cell(hide_code=True)
def _(page):
    n = page.slider(1, 8, value=4, label="Input n", show_value=True)
    k = page.slider(1, 7, value=3, label="Kernel k", show_value=True)
    s = page.slider(1, 4, value=2, label="Stride s", show_value=True)
    d = page.slider(1, 3, value=1, label="Dilation d", show_value=True)
    b = page.slider(-2, 4, value=0, label="Crop at the beginning b", show_value=True)
    e = page.slider(-2, 4, value=1, label="Crop at the end e", show_value=True)
    return b, d, e, k, n, s


@app.cell(hide_code=True)
def _(NAMES, b, d, e, escape, k, mo, n, np, page, s, us):
    trace = None
    try:
        _geometry = us.Geometry((k.value,) * 2, s.value, ((b.value, e.value),) * 2, None, d.value)
        trace = us.explain(
            np.arange(n.value**2).reshape(n.value, n.value) % 10,
            np.arange(k.value**2).reshape(k.value, k.value) % 10,
            geometry=_geometry,
        )
    except ValueError as _error:
        _shown = page.problem(_error, name="setting")
    else:
        _rows = [
            (
                NAMES[framework],
                f"<code>{escape(setting.text)}</code>"
                if setting.reason is None
                else f"No single call: {escape(setting.reason)}.<br>Instead: {escape(setting.recipe)}.",
            )
            for framework, setting in trace.settings.items()
        ]
        _shown = mo.vstack(
            [
                page.facts(
                    {
                        "Output": "{} × {}".format(*trace.output_size),
                        "Kernel": f"{k.value} × {k.value}, stride {s.value}, dilation {d.value}",
                        "Crop": f"({b.value}, {e.value}) on each axis",
                    },
                    name="setting",
                ),
                page.table(["Framework", "Call"], _rows, name="calls"),
            ]
        )
    page.split_view(page.stack(n, k, s, d, b, e), _shown)
    return (trace,)


@app.cell(hide_code=True)
def _(NAMES, mo):
    framework = mo.ui.dropdown({name: key for key, name in NAMES.items()}, value="PyTorch", label="Whole program for")
    framework
    return (framework,)


@app.cell(hide_code=True)
def _(framework, mo, page, trace):
    mo.stop(trace is None)
    page.code(trace.code(framework.value), name="program")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The traps

    The input is $[1, 10, 100]$ and the kernel $[1, 2, \dots, k]$, so that each digit of a result shows which input cell
    it comes from. Every row below is computed from the framework's convention.
    """)
    return


@app.cell(hide_code=True)
def _(mo, page):
    trap_k = page.slider(1, 6, value=3, label="Kernel k of the traps", show_value=True)
    trap_s = page.slider(1, 4, value=2, label="Stride s of the traps", show_value=True)
    mo.hstack([trap_k, trap_s], wrap=True, justify="start", gap=1.5)
    return trap_k, trap_s


@app.cell(hide_code=True)
def _(escape, mo, page, trap_k, trap_s, traps):
    def _table(trap):
        different = len({row.text for row in trap.rows}) > 1
        rows = [(f"<code>{escape(row.call)}</code>", f"<code>{escape(row.text)}</code>") for row in trap.rows]
        verdict = "" if different else " With this kernel and stride they agree."
        return [
            mo.md(f"### {trap.title}\n\n{trap.words}{verdict}"),
            page.table(["Call", "Result"], rows, name=f"trap-{trap.name}"),
        ]

    mo.vstack([part for trap in traps.traps(trap_k.value, trap_s.value) for part in _table(trap)])
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## “I have 7 × 7 and want 28 × 28”

    `us.solve` searches for geometries that turn one size into another. The simplest come first: symmetric crops, and
    kernels that are multiples of the stride, which have no checkerboard (chapter 4).
    """)
    return


@app.cell(hide_code=True)
def _(Numbers, mo):
    sizes = mo.ui.anywidget(Numbers({"I have": (1, 256, 1), "and want": (1, 1024, 1)}, {"": [7, 28]}))
    fixed_k = mo.ui.dropdown(["any", *map(str, range(1, 17))], value="any", label="Kernel")
    fixed_s = mo.ui.dropdown(["any", *map(str, range(1, 9))], value="any", label="Stride")
    mo.hstack([sizes, fixed_k, fixed_s], wrap=True, justify="start", align="end", gap=1.5)
    return fixed_k, fixed_s, sizes


@app.cell(hide_code=True)
def _(fixed_k, fixed_s, sizes, us):
    def _given(choice):
        return None if choice.value == "any" else int(choice.value)

    have, want = sizes.number("I have"), sizes.number("and want")
    solutions = us.solve((have,) * 2, (want,) * 2, kernel_size=_given(fixed_k), stride=_given(fixed_s), limit=8)
    return solutions, have, want


@app.cell(hide_code=True)
def _(solutions, have, mo, page, want):
    def _named(geometry):
        (kernel, _), (stride, _), (crop, _) = geometry.kernel_size, geometry.stride, geometry.crops
        return f"kernel {kernel}, stride {stride}, crop {crop}"

    if solutions:
        picked = mo.ui.radio(
            {_named(geometry): i for i, geometry in enumerate(solutions)},
            value=_named(solutions[0]),
            label="Simplest first",
        )
        _shown = picked
    else:
        picked = None
        _shown = page.problem(
            f"Nothing makes {want} × {want} from {have} × {have} with that kernel and stride. "
            "Set one of them to “any”.",
            name="solved",
        )
    _shown
    return (picked,)


@app.cell(hide_code=True)
def _(NAMES, escape, solutions, have, mo, np, page, picked, us):
    mo.stop(picked is None or picked.value is None)
    _geometry = solutions[picked.value]
    _even = all(k % s == 0 for k, s in zip(_geometry.kernel_size, _geometry.stride, strict=True))
    _rows = []
    for _framework in ("keras", "torch", "tensorflow", "jax", "onnx"):
        try:
            _arguments = _geometry.to(_framework, size=(have,) * 2)
            _text = ", ".join(f"{name}={value!r}" for name, value in _arguments.items())
        except us.NotExpressible as _error:
            _text = f"no single call: {_error.reason}"
        _rows.append((NAMES[_framework], f"<code>{escape(_text)}</code>"))
    _size = us.conv_transpose(np.ones((1, have, have, 1)), np.ones((*_geometry.kernel_size, 1, 1)), geometry=_geometry)
    mo.vstack(
        [
            page.facts(
                {
                    "Output, computed": "{} × {}".format(*_size.shape[1:3]),
                    "Overlap": "even" if _even else "uneven: a checkerboard",
                },
                name="solved",
            ),
            page.table(["Framework", "Arguments"], _rows, name="solved-calls"),
        ]
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("frameworks")
    return


if __name__ == "__main__":
    app.run()

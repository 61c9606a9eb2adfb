# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 1 of the lab: scatter and sum."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="1. What it is", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    from unstride.explainer.figures import prose
    from unstride.explainer.presets import PRESETS
    from unstride.explainer.widget import Explorer
    from unstride.lab import page

    page.header("what-it-is")
    return Explorer, PRESETS, mo, page, prose


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A convolution slides a kernel over a large grid and writes one number for each position. Its transpose goes the
    other way: for each number of a small grid, it adds the whole kernel, multiplied by that number, to a large grid.
    Where copies overlap, they are summed. With a small grid $x$, a kernel $w$ and a stride $s$, for every input cell
    $i$ and every kernel cell $j$:

    $$y_{s\,i + j} \mathrel{+}= x_i \, w_j.$$
    """)
    return


@app.cell(hide_code=True)
def _(Explorer, mo):
    explorer = mo.ui.anywidget(Explorer())
    explorer
    return (explorer,)


@app.cell(hide_code=True)
def _(explorer, mo, page, prose):
    mo.stop(not explorer.value["state"])
    shown = explorer.widget.trace
    _x, _w, _full = (float(array.sum()) for array in (shown.input, shown.kernel, shown.full))
    page.facts(
        {
            "Output": " × ".join(map(str, shown.output_size)),
            "Copies of the kernel": f"{shown.input.size if shown.transposed else 0}",
            "Products": f"{len(shown.terms)}",
            "Most products in one cell": f"{shown.overlap.max() if shown.overlap.size else 0}",
            "Sum of the input × sum of the kernel": "{} × {} = {}".format(*map(prose, (_x, _w, _x * _w))),
        }
        | ({"Sum of the full grid": prose(_full)} if shown.transposed else {}),
        name="explored",
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    These numbers follow the explorer. Each copy adds $x_i \sum_j w_j$ to the total, so before cropping the sums must
    agree for any stride: $\sum y = \sum x \cdot \sum w$.

    ## The reading's worked examples

    Input and kernel are both $\begin{pmatrix} 0 & 1 \\ 2 & 3 \end{pmatrix}$. One copy at a time:
    """)
    return


@app.cell(hide_code=True)
def _(PRESETS, mo, page):
    example = mo.ui.radio(
        {"Stride 1": "worked-1", "Stride 2": "worked-2"}, value="Stride 1", label="Example", inline=True
    )
    _last = PRESETS["worked-1"].trace().steps("scatter")[-1].number
    step = page.slider(0, _last, value=_last, label="Step of the example", show_value=True)
    mo.hstack([example, step], wrap=True, justify="start", align="end", gap=2)
    return example, step


@app.cell(hide_code=True)
def _(PRESETS, example, mo, page, step):
    mo.vstack(
        [
            page.step(PRESETS[example.value].trace(), "scatter", step.value, name="worked"),
            page.note(PRESETS[example.value].note),
        ]
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("what-it-is")
    return


if __name__ == "__main__":
    app.run()

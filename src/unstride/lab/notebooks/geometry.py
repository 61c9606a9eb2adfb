# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 2 of the lab: the four numbers of a transposed convolution, examples, and a quiz."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="2. Stride, padding, output padding, dilation", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo
    import numpy as np

    import unstride as us
    from unstride._messages.wording import counted
    from unstride.explainer import quiz
    from unstride.explainer.presets import PRESETS
    from unstride.lab import page
    from unstride.lab.content import drawings

    page.header("geometry")
    return PRESETS, counted, drawings, mo, np, page, quiz, us


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    An input of $n$ cells places $n$ copies of a kernel of $k$ cells. The **stride** $s$ is the distance between the
    copies, and the **dilation** $d$ the distance between the cells of one copy. Together they fill a grid of $F =
    (n-1)\,s + (k-1)\,d + 1$ cells. The **padding** $p$ is then cropped at both ends (a convolution adds it, and the
    transpose reverses that, too). The **output padding** $o$ reduces the crop at the far end.
    """)
    return


@app.cell(hide_code=True)
def _(page):
    n = page.slider(1, 6, value=4, label="Input n", show_value=True)
    k = page.slider(1, 5, value=3, label="Kernel k", show_value=True)
    s = page.slider(1, 4, value=2, label="Stride s", show_value=True)
    d = page.slider(1, 3, value=1, label="Dilation d", show_value=True)
    kept = {"p": 1, "o": 0}  # the chosen values, used again if a new range allows them
    return d, k, kept, n, s


@app.cell(hide_code=True)
def _(d, k, kept, n, page, s, us):
    most_p = max((us.Geometry(k.value, s.value, dilation=d.value).output_size((n.value,))[0] - 1) // 2, 0)
    most_o = max(s.value, d.value) - 1
    p = page.slider(
        0,
        max(most_p, 1),
        value=min(kept["p"], most_p),
        disabled=most_p == 0,
        label="Padding p",
        show_value=True,
        on_change=lambda value: kept.update(p=value),
    )
    o = page.slider(
        0,
        max(most_o, 1),
        value=min(kept["o"], most_o),
        disabled=most_o == 0,
        label="Output padding o",
        show_value=True,
        on_change=lambda value: kept.update(o=value),
    )
    return o, p


@app.cell(hide_code=True)
def _(d, k, n, o, p, s, us):
    geometry = us.Geometry((k.value,) * 2, s.value, p.value, o.value, d.value)
    size = geometry.output_size((n.value,) * 2)[0]
    full = us.Geometry(k.value, s.value, dilation=d.value).output_size((n.value,))[0]
    return full, geometry, size


@app.cell(hide_code=True)
def _(counted, d, drawings, full, geometry, k, mo, n, o, p, page, s, size):
    _sizes = page.facts(
        {
            "Output, an axis": counted(size, "cell"),
            "Full grid": counted(full, "cell"),
            "Cut at the beginning, at the end": "{} and {}".format(*geometry.crops[0]),
            "The convolution takes it back to": counted(geometry.conv_size((size,) * 2)[0], "cell"),
        },
        name="sizes",
    )
    _formula = mo.md(
        rf"""
    $$L = (n-1)\,s + (k-1)\,d + 1 - 2p + o$$

    $$({n.value}-1)\cdot {s.value} + ({k.value}-1)\cdot {d.value} + 1 - 2\cdot {p.value} + {o.value} = {size}$$
    """
    )
    _copies = page.figure(
        drawings.copies(geometry, n.value),
        "One axis. Each row is a copy of the kernel in its place; the columns are summed. Cells with × are "
        "cropped. A dashed cell was added by output padding, and no copy reaches it.",
        name="copies",
    )
    page.split_view(page.stack(n, k, s, d, p, o), page.stack(_formula, _sizes, _copies))
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The zero-spaced grid

    There is another way to the same numbers: put $s-1$ zeros between the input's cells and $K-1-p$ around them, where
    $K = (k-1)\,d+1$, flip the kernel, and slide it over that grid in steps of **one**. Transposed convolution is often
    drawn like this. It explains the sizes, but as a computation it wastes most multiplications on zeros (chapter 10).
    """)
    return


@app.cell(hide_code=True)
def _(geometry, n, np, us):
    trace = us.explain(
        (np.arange(n.value**2) % 9 + 1).reshape(n.value, n.value),
        (np.arange(geometry.kernel_size[0] ** 2) % 9 + 1).reshape(geometry.kernel_size),
        geometry=geometry,
    )
    return (trace,)


@app.cell(hide_code=True)
def _(page, trace):
    last = trace.steps("grid")[-1].number
    step = page.slider(0, last, value=min(last, 1), label="Step of the kernel", show_value=True, full_width=True)
    step
    return (step,)


@app.cell(hide_code=True)
def _(page, step, trace):
    page.step(trace, "grid", step.value, name="grid")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The reading's four examples
    """)
    return


@app.cell(hide_code=True)
def _(PRESETS, mo):
    _names = {preset.title: name for name, preset in PRESETS.items() if name.startswith("example")}
    example = mo.ui.dropdown(_names, value=list(_names)[1], label="Example", full_width=True)
    example
    return (example,)


@app.cell(hide_code=True)
def _(PRESETS, example, page):
    shown = PRESETS[example.value].trace()
    _last = shown.steps("grid")[-1].number
    at = page.slider(0, _last, value=_last, label="Step of the example", show_value=True, full_width=True)
    at
    return at, shown


@app.cell(hide_code=True)
def _(PRESETS, at, example, mo, page, shown):
    mo.vstack(
        [
            page.facts(
                {
                    "Output": "{} × {}".format(*shown.output_size),
                    "Input": "{} × {}".format(*shown.input.shape),
                    "Grid that the kernel slides over": "{} × {}".format(*shown.extended.shape),
                },
                name="example",
            ),
            page.step(shown, "grid", at.value, name="example-grid"),
            page.note(PRESETS[example.value].note),
        ]
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Questions

    Every answer is computed from the case in question.
    """)
    return


@app.cell(hide_code=True)
def _(mo, np):
    seed = int(np.random.default_rng().integers(2**31))
    another = mo.ui.button(value=0, on_click=lambda count: count + 1, label="Another question")
    answers = {}  # the first answer to each question
    another
    return another, answers, seed


@app.cell(hide_code=True)
def _(another, mo, page, quiz, seed):
    question = list(quiz.questions(seed, another.value + 1))[-1]
    choice = mo.ui.radio({c.text: i for i, c in enumerate(question.choices)}, label="Your answer")
    _case = []
    if question.trace is not None:
        _case = [page.code(question.show(76).split("\n\n", 1)[1].rsplit("\n\n", 1)[0])]
    mo.vstack([mo.md(f"**{question.text}**"), *_case, choice])
    return choice, question


@app.cell(hide_code=True)
def _(another, answers, choice, page, question):
    if choice.value is None:
        _said = page.note("Choose one.", name="judged")
    else:
        answers.setdefault(another.value, question.choices[choice.value].correct)
        _score = f" ({sum(answers.values())} of {len(answers)} right at the first try)"
        _said = page.note(question.judge(choice.value, 10_000).replace("\n", "<br>") + _score, name="judged")
    _said
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("geometry")
    return


if __name__ == "__main__":
    app.run()

# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 3 of the lab: the matrix, the adjoint, and why transposed convolution is not deconvolution."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="3. Why “transposed”", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo
    import numpy as np

    import unstride as us
    from unstride.explainer.figures import prose
    from unstride.lab import page
    from unstride.lab.content import blurring, drawings

    page.header("why-transposed")
    return blurring, drawings, mo, np, page, prose, us


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The matrix

    A convolution is linear, so it is a matrix: $y = C\,x$, with one row for each position of the kernel. Its transpose
    $C^\top$ has one **column** for each input cell, and that column is a copy of the kernel. Multiplication by $C^\top$
    is exactly the scatter and sum of chapter 1.
    """)
    return


@app.cell(hide_code=True)
def _(mo, page):
    n = page.slider(1, 5, value=3, label="Input n", show_value=True)
    k = page.slider(1, 4, value=3, label="Kernel k", show_value=True)
    s = page.slider(1, 3, value=2, label="Stride s", show_value=True)
    mo.hstack([n, k, s], wrap=True, justify="start", gap=1.5)
    return k, n, s


@app.cell(hide_code=True)
def _(k, n, np, s, us):
    kernel = np.arange(1, k.value + 1) * np.where(np.arange(k.value) % 2, -1, 1)
    trace = us.explain(np.arange(1, n.value + 1), kernel, stride=s.value)
    by_matrix = trace.matrix @ trace.input
    by_scatter = us.conv_transpose(trace.input, kernel, stride=s.value, channels=None)
    return by_matrix, by_scatter, kernel, trace


@app.cell(hide_code=True)
def _(by_matrix, by_scatter, drawings, kernel, np, page, prose, trace):
    page.row(
        page.figure(
            drawings.board(trace.conv_matrix, "C, the convolution's matrix", rows="small grid", columns="large grid"),
            f"C, the convolution, with the kernel [{', '.join(map(prose, kernel))}]: each row is the kernel at one "
            "place.",
            name="matrix",
        ),
        page.figure(
            drawings.board(trace.matrix, "its transpose", rows="large grid", columns="small grid"),
            "Cᵀ, the transposed convolution: each column is a copy of the kernel.",
            name="transpose",
        ),
        page.figure(
            drawings.board(np.stack([by_matrix, by_scatter], axis=1), "both results", columns="Cᵀx, scatter"),
            f"For x = [{', '.join(f'{v:g}' for v in trace.input)}]: by the matrix, and by laying copies. The largest "
            f"difference is {np.abs(by_matrix - by_scatter).max():g}.",
            name="results",
        ),
        least="12rem",
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The adjoint

    For a real layer nobody writes down the matrix. This identity says the same without it:

    $$\langle C\,u,\; v \rangle = \langle u,\; C^\top v \rangle \qquad \text{for all } u \text{ and } v.$$

    That is why the gradient of a convolution with respect to its input is a transposed convolution, and that of a
    transposed convolution is a convolution. Below, $u$ is a random image, $v$ a random feature map, and one
    random kernel serves both sides, in double precision.
    """)
    return


@app.cell(hide_code=True)
def _(mo, page):
    side = page.slider(8, 96, step=8, value=64, label="Image side", show_value=True)
    kernel_side = page.slider(1, 7, value=4, label="Kernel", show_value=True)
    stride = page.slider(1, 4, value=2, label="Stride", show_value=True)
    channels = page.slider(1, 16, value=8, label="Channels of v", show_value=True)
    draw = mo.ui.button(value=0, on_click=lambda count: count + 1, label="Draw other numbers")
    mo.hstack([side, kernel_side, stride, channels, draw], wrap=True, justify="start", align="center", gap=1.5)
    return channels, draw, kernel_side, side, stride


@app.cell(hide_code=True)
def _(channels, draw, kernel_side, np, page, side, stride, us):
    _rng = np.random.default_rng(draw.value)
    _geometry = us.Geometry((kernel_side.value,) * 2, stride.value)
    _small = _geometry.conv_size((side.value,) * 2)
    # The size that the convolution uses: cells that it does not read are not reached by its transpose.
    _large = _geometry.output_size(_small)
    _u = _rng.standard_normal((1, *_large, 3))
    _v = _rng.standard_normal((1, *_small, channels.value))
    _kernel = _rng.standard_normal((*_geometry.kernel_size, 3, channels.value))
    _left = float(np.sum(us.conv(_u, _kernel, geometry=_geometry) * _v))
    _right = float(np.sum(_u * us.conv_transpose(_v, _kernel, geometry=_geometry)))
    page.facts(
        {
            "⟨C u, v⟩": f"{_left:.8f}",
            "⟨u, Cᵀ v⟩": f"{_right:.8f}",
            "Relative difference": f"{abs(_left - _right) / max(abs(_left), 1e-300):.1e}",
            "u": "{} × {} × 3".format(*_large),
            "v": "{} × {} × {}".format(*_small, channels.value),
        },
        name="adjoint",
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## It is not deconvolution

    Deconvolution undoes a convolution: it finds $x$ from $C\,x$. The transpose does not, unless $C^\top C$ happens to
    be the identity. It restores the **size**, not the content. Blur a picture and apply the transposed convolution with
    the same kernel, and the picture is blurred twice. A deconvolution (scikit-image has several) sharpens it, as far as
    the noise permits.
    """)
    return


@app.cell(hide_code=True)
def _(blurring, mo, page):
    subject = mo.ui.dropdown(list(blurring.SUBJECTS), value="Photograph", label="Picture")
    blur = mo.ui.dropdown(list(blurring.KERNELS), value="Gaussian", label="Blur")
    width = page.slider(3, 15, step=2, value=9, label="Width of the blur", show_value=True)
    noise = page.slider(0, 5, step=0.25, value=0.5, label="Noise, percent", show_value=True)
    method = mo.ui.dropdown(list(blurring.METHODS), value="Wiener", label="Deconvolution")
    mo.hstack([subject, blur, width, noise, method], wrap=True, justify="start", align="end", gap=1.5)
    return blur, method, noise, subject, width


@app.cell(hide_code=True)
def _(blur, blurring, method, mo, noise, page, subject, width):
    try:
        case = blurring.compare(subject.value, blur.value, width.value, noise.value / 100, method.value)
        _images = [
            page.picture(case.sharp, "The sharp picture", "The picture x", scale=2, name="sharp"),
            page.picture(
                case.blurred,
                "The blurred picture",
                f"C x and noise: {case.quality['blurred']:.1f} dB",
                scale=2,
                name="blurred",
            ),
            page.picture(
                case.transposed,
                "The transposed convolution of the blurred picture",
                f"Cᵀ of that: {case.quality['transposed']:.1f} dB",
                scale=2,
                name="transposed",
            ),
            page.picture(
                case.deconvolved,
                "The deconvolved picture",
                f"{method.value} deconvolution: {case.quality['deconvolved']:.1f} dB",
                scale=2,
                name="deconvolved",
            ),
        ]
        _shown = mo.vstack([page.row(*_images, least="12rem")])
    except (ImportError, ValueError) as _error:
        case, _shown = None, page.problem(_error)
    _shown
    return (case,)


@app.cell(hide_code=True)
def _(case, drawings, mo, page):
    mo.stop(case is None)
    page.figure(
        drawings.curves(
            [("undone: 1", [1.0] * len(case.response)), ("C: |H|", case.response), ("CᵀC: |H|²", case.response**2)],
            "The factor for each spatial frequency",
            "frequency, up to half a period a pixel",
        ),
        "The blur multiplies each frequency of the picture by |H|, and the transpose once more: |H|². "
        "A deconvolution has to bring the factor back to 1, which multiplies the noise by 1/|H|.",
        name="response",
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("why-transposed")
    return


if __name__ == "__main__":
    app.run()

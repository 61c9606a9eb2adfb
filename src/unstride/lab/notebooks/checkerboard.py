# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 4 of the lab: the checkerboard."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="4. The checkerboard", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo
    import numpy as np

    from unstride import codes, explain
    from unstride._messages.wording import counted
    from unstride.app import contact_sheet
    from unstride.app.tasks.compressor.inference import Compressor
    from unstride.lab import jobs, page, training
    from unstride.lab.controls import Controls
    from unstride.lab.widgets import Numbers, Pixels, Pulse
    from unstride.models._compressor import UPSAMPLE

    page.header("checkerboard")
    return (
        Compressor,
        Controls,
        Numbers,
        Pixels,
        Pulse,
        UPSAMPLE,
        codes,
        contact_sheet,
        counted,
        explain,
        jobs,
        mo,
        np,
        page,
        training,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Copies of a kernel with $k$ taps are placed $s$ cells apart. Output cell $o$ is the sum of one product for each tap
    $j$ with $j \equiv o \pmod s$: $\lceil k/s \rceil$ or $\lfloor k/s \rfloor$ products. If $s$ divides $k$, the number
    is the same for all cells. Otherwise some cells are sums of more products than their neighbours, in a pattern that
    repeats every $s$ cells. In two dimensions the numbers multiply.

    ## Products in each cell
    """)
    return


@app.cell(hide_code=True)
def _(page):
    k = page.slider(1, 8, value=3, label="Kernel k", show_value=True)
    s = page.slider(1, 5, value=2, label="Stride s", show_value=True)
    return k, s


@app.cell(hide_code=True)
def _(Pixels, mo):
    # Made once, so that the chosen cell stays when the picture changes.
    counts_picture = mo.ui.anywidget(Pixels(choose=True, counts=True, name="Products a cell"))
    return (counts_picture,)


@app.cell(hide_code=True)
def _(counts_picture, explain, k, np, s):
    trace = explain(np.ones((4, 4)), np.ones((k.value, k.value)), stride=s.value)
    counts_picture.widget.values = trace.overlap.tolist()
    return (trace,)


@app.cell(hide_code=True)
def _(counted, counts_picture, k, np, page, s, trace):
    counts_picture.value
    _axis = trace.phase_overlap[0]
    _spread = np.outer(_axis, _axis)
    _cell = tuple(counts_picture.value["cell"] or ())
    _inside = len(_cell) == 2 and all(at < size for at, size in zip(_cell, trace.output_size, strict=True))
    _words = (
        f"Cell {_cell}: the sum of {counted(int(trace.overlap[_cell]), 'product')}"
        if _inside
        else "Point at a cell, or go there with the arrow keys"
    )
    _most = max(int(trace.overlap.max()), 1)
    _colours = [
        ("rgb({0} {0} {0})".format(round(255 * count / _most)), counted(int(count), "product"))
        for count in np.unique(trace.overlap)
    ]
    page.split_view(
        page.stack(
            k,
            s,
            page.facts(
                {
                    "Products a cell": f"{_spread.max()}" if trace.even else f"{_spread.min()} to {_spread.max()}",
                    "Along an axis, by o mod s": ", ".join(map(str, _axis)),
                    "Even": "yes, s divides k" if trace.even else "no, s does not divide k",
                    "Output of 4×4": "×".join(map(str, trace.output_size)),
                },
                name="overlap",
            ),
        ),
        page.stack(
            counts_picture,
            page.key(_colours, "Products in a cell", name="counts"),
            page.html(
                f'<p data-lab="cell">{_words}. Most: {int(np.max(trace.overlap))}. '
                "Near the edges fewer copies overlap, for any kernel.</p>"
            ),
        ),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## A decoder before it has learned anything

    Weights could compensate for this, but at the start they are random, and more products mean a stronger response.
    Below are decoders of the compressor (chapter 7), which double a grid twice to get from a code to $28 \times 28$
    pixels:

    - **transposed**: transposed convolutions with stride 2;
    - **resize**: each pixel repeated $2 \times 2$, then a convolution;
    - **subpixel**: a convolution to four times as many channels, which become the $2 \times 2$ pixels.

    Each picture shows the mean squared response of every pixel to random codes, over 32 sets of random weights, from
    the smallest (black) to the largest (white). Doubling twice makes patterns of period 2 and of period 4. The number
    is their strength: subtract the local mean, take the mean $m$ of all pixels at each of the $4 \times 4$ places
    modulo 4, and compare with the picture $x$, $100\,\sigma(m) / \sigma(x)$. A pure checkerboard has 100%, a smooth
    picture almost 0. Random weights leave speckle, which alone gives about 25%; a checkerboard well above that is
    visible at a glance. The compressor's report uses the same measure.
    """)
    return


@app.cell(hide_code=True)
def _(page):
    kernel = page.slider(2, 6, value=3, label="Kernel of all three decoders", show_value=True)
    kernel
    return (kernel,)


@app.cell(hide_code=True)
def _(UPSAMPLE, kernel, page, training):
    _untrained = {name: training.untrained(name, kernel.value) for name in UPSAMPLE}
    page.row(
        *[
            page.picture(
                image,
                f"How strongly each pixel of an untrained {name} decoder responds.",
                f"{name}, {kernel.value}×{kernel.value}: <b>{share:.0f}%</b> checkerboard",
                scale=7,
                name=f"untrained-{name}",
            )
            for name, (image, share) in _untrained.items()
        ],
        least="9rem",
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Try $k = 3$ and $k = 4$. Resize-convolution repeats pixels before its kernel sees them, so it starts smooth for any
    $k$. Sub-pixel convolution has a kernel for each of the four phases: no cell gets more taps, but the four kernels
    differ, and the picture is speckled. The same holds for transposed convolutions with $k = 4$, whose phases have
    equally many but different taps.

    ## After training

    A checkerboard that training removes is a defect of the start only, not of the result. What remains of it shows in
    the images. The trained decoder in the package has $k = 4$. Train others for as long as you like, and compare.
    """)
    return


@app.cell(hide_code=True)
def _(Numbers, UPSAMPLE, mo, page):
    wanted = mo.ui.dropdown(list(UPSAMPLE), value="transposed", label="Decoder")
    side = page.slider(2, 6, value=3, label="Kernel", show_value=True)
    amount = mo.ui.anywidget(Numbers({"Images": (200, 60_000, 1), "Epochs": (1, 100, 1)}, {"": [4000, 2]}))
    mo.vstack([mo.hstack([wanted, side], justify="start", wrap=True, gap=1), amount])
    return amount, side, wanted


@app.cell(hide_code=True)
def _(Controls, mo):
    get_name, set_name = mo.state(mo.query_params().get("run"))
    get_changes, set_changes = mo.state(0)
    get_done, set_done = mo.state(0)
    get_problem, set_problem = mo.state("")
    controls = Controls(mo.query_params(), set_name, set_problem, set_changes)
    return controls, get_changes, get_done, get_name, get_problem, set_done


@app.cell(hide_code=True)
def _(get_changes, get_name, jobs):
    get_changes()
    job = jobs.find(get_name())
    return (job,)


@app.cell(hide_code=True)
def _(amount, controls, get_changes, job, jobs, mo, side, training, wanted):
    get_changes()

    def _start():
        options = ["--upsample", wanted.value, "--kernel", str(side.value), "--epochs", str(amount.number("Epochs"))]
        if amount.number("Images") < 60_000:
            options += ["--limit", str(amount.number("Images"))]
        return jobs.start("compressor", options)

    def _more(job, now):
        return ("Continue", job.resume) if now.resumable else None

    start, stop, further = controls.buttons(job, ("Train this decoder", _start), _more)
    mo.vstack([mo.hstack([start, stop, further], justify="start", wrap=True), *training.shared()])
    return


@app.cell(hide_code=True)
def _(get_problem, mo, page):
    mo.stop(not get_problem())
    page.problem(get_problem(), name="told")
    return


@app.cell(hide_code=True)
def _(Pulse, get_changes, job, mo):
    get_changes()
    pulse = mo.ui.anywidget(Pulse(on=job is not None and job.progress().active))
    pulse
    return (pulse,)


@app.cell(hide_code=True)
def _(controls, get_changes, job, mo, pulse, set_done, training):
    get_changes()
    mo.stop(job is None)
    progress = job.progress()
    set_done(progress.done)
    if pulse.on and not progress.active:
        controls.changed()
    training.panel(job, progress)
    return


@app.cell(hide_code=True)
def _(Compressor, codes, contact_sheet, get_changes, get_done, job, jobs, mo, np, page, training):
    get_done()
    get_changes()
    _images = training.Digits.read()[0][:300]
    _listed = jobs.listing("compressor")[:6]
    if job is not None and job.name not in [at.name for at in _listed]:
        _listed.insert(0, job)
    _rows, _tiles = [], []
    for _job in (None, *_listed):
        try:
            _network = Compressor(training.exported("compressor", _job))
        except ValueError:
            continue  # no whole epoch yet
        _decoded = _network.decoded(_network.encoded(_images))
        _side = _network.exported.weights[f"decoder/{_network.upsample}_1/kernel"].shape[0]
        _name = "ships with unstride" if _job is None else _job.name
        _epochs = "all" if _job is None else str(_job.progress().done)
        _rows.append(
            (
                f"{_network.upsample}, {_side}×{_side}",
                _name,
                _epochs,
                f"{codes.checkerboard(_decoded):.1f}%",
                f"{np.square(_decoded - _images).mean():.4f}",
            )
        )
        _tiles.append(_decoded[:6])
    _tiles.append(_images[:6])
    mo.vstack(
        [
            page.table(
                ("Decoder", "Run", "Epochs", "Checkerboard", "Squared error"),
                [*_rows, ("the digits themselves", "", "", f"{codes.checkerboard(_images):.1f}%", "0")],
                numbers=(2, 3, 4),
                name="trained",
            ),
            page.picture(
                contact_sheet.grid(np.concatenate(_tiles), 6),
                "A row of digits of each decoder in the table, and the digits themselves at the bottom.",
                "Digits of each decoder, in the table's order; the digits themselves at the bottom.",
                scale=2,
                name="digits",
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("checkerboard")
    return


if __name__ == "__main__":
    app.run()

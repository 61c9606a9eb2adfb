# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 6 of the lab: build an autoencoder, train it and look inside."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="6. The autoencoder", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo
    import numpy as np

    from unstride import models
    from unstride._messages.wording import counted
    from unstride.app import contact_sheet
    from unstride.app.tasks.autoencoder.inference import Autoencoder, code_row
    from unstride.app.tasks.autoencoder.metrics import cross_entropy, squared_error
    from unstride.app.tasks.autoencoder.task import TASK
    from unstride.lab import jobs, page, training
    from unstride.lab.controls import Controls
    from unstride.lab.widgets import Numbers, Pad, Pixels, Pulse
    from unstride.models._autoencoder import READING, SIDE, Layer, parsed, table

    page.header("autoencoder")
    return (
        Autoencoder,
        Controls,
        Layer,
        Numbers,
        Pad,
        Pixels,
        Pulse,
        READING,
        SIDE,
        TASK,
        code_row,
        contact_sheet,
        counted,
        cross_entropy,
        jobs,
        mo,
        models,
        np,
        page,
        parsed,
        squared_error,
        table,
        training,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    An autoencoder learns to reproduce its input through a bottleneck in the middle, the **code**. Its first half, the
    encoder, consists of convolutions. Its second half, the decoder, has to return from the code's grid to that of the
    image. This is what transposed convolutions are for: such a layer undoes the *size* of a convolution with the same
    kernel and stride, and learns its own weights.

    ## Build it

    Without padding, a convolution with kernel $k$ and stride $s$ turns $N$ cells into $\lfloor (N-k)/s \rfloor + 1$,
    and a transposed one turns $n$ cells into $(n-1)s + k$. Change the layers and watch the sizes. The last layer is
    always a $3 \times 3$ convolution to one channel, padded to keep the size.
    """)
    return


@app.cell(hide_code=True)
def _(READING, mo, parsed):
    presets = {
        "The reading's": READING,
        "Halved twice by strides": parsed("conv 16 4 2, conv 8 3 2, up 16 3 2, up 16 4 2"),
        "One pixel short": parsed("conv 16 3 2, conv 8 3 2, up 16 3 2, up 16 3 2"),
        "As few as possible": parsed("conv 4 4 4, up 4 4 4"),
    }
    preset = mo.ui.dropdown(list(presets), value="The reading's", label="Start from")
    preset
    return preset, presets


@app.cell(hide_code=True)
def _(Numbers, mo, preset, presets):
    _known = {kind: [layer for layer in presets[preset.value] if layer.kind == kind] for kind in ("conv", "up")}
    counts = mo.ui.anywidget(
        Numbers(
            {"Convolutions": (1, 5, 1), "Transposed convolutions": (1, 5, 1)},
            {"": [len(layers) for layers in _known.values()]},
        )
    )
    counts
    return (counts,)


@app.cell(hide_code=True)
def _(Numbers, counts, mo, preset, presets):
    # The kind of layer of each row. Rows beyond the preset start like its last one.
    kinds, _rows = [], {}
    for _kind, _name, _count in zip(("conv", "up"), ("Convolution", "Transposed"), counts.line(), strict=True):
        _known = [layer for layer in presets[preset.value] if layer.kind == _kind]
        for _at in range(_count):
            _layer = _known[min(_at, len(_known) - 1)]
            kinds.append(_kind)
            _rows[f"{_name} {_at + 1}"] = [_layer.filters, _layer.kernel, _layer.stride]
    fields = mo.ui.anywidget(Numbers({"filters": (1, 128, 1), "kernel": (1, 14, 1), "stride": (1, 7, 1)}, _rows))
    return fields, kinds


@app.cell(hide_code=True)
def _(Layer, SIDE, code_row, fields, kinds, page, table):
    def _made():
        return tuple(Layer(kind, *fields.line(row)) for row, kind in enumerate(kinds))

    def _remedy(layers):
        """Kernels of the last transposed layer with which the output has the image's size."""
        last = layers[-1]
        fits = []
        for kernel in range(1, 15):
            try:
                changed = Layer("up", last.filters, kernel, last.stride)
                if table((*layers[:-1], changed))[-1].side == SIDE:
                    fits.append(str(kernel))
            except ValueError:
                continue
        if fits:
            return f"the last transposed layer would end there with kernel {' or '.join(fits)}"
        return "no kernel of the last transposed layer alone gets there: change a stride too"

    built, built_problem = None, ""
    try:
        built = _made()
        _rows = table(built)
        if _rows[-1].side != SIDE:
            built_problem = (
                f"The decoder ends with {_rows[-1].side}×{_rows[-1].side}; expected {SIDE}×{SIDE}, the image's size: "
                f"{_remedy(built)}."
            )
        _code = _rows[code_row(_rows)]
        _numbers = _code.side**2 * _code.layer.filters
        _total = sum(row.parameters for row in _rows)
        _shown = page.html(
            page.facts(
                {
                    "Parameters": f"{_total:,}",
                    "Code": f"{_code.side}×{_code.side}×{_code.layer.filters}",
                    "Numbers in the code": f"{_numbers:,} for {SIDE**2} pixels",
                    "Ends with": f"{_rows[-1].side}×{_rows[-1].side}",
                },
                name="built",
            ).text
            + (page.problem(built_problem, name="built-problem").text if built_problem else "")
            + page.table(
                ("Layer", "Kernel", "Stride", "Output", "Parameters"),
                [
                    (
                        row.name.replace("_", "_<wbr>"),
                        f"{row.layer.kernel}×{row.layer.kernel}",
                        row.layer.stride,
                        f"{row.side}×{row.side}×{row.layer.filters}",
                        f"{row.parameters:,}",
                    )
                    for row in _rows
                ],
                numbers=(2, 4),
                name="layers",
            ).text
        )
    except (ValueError, TypeError) as _error:
        built, built_problem = None, str(_error)
        _shown = page.problem(f"These layers do not fit together: {_error}", name="built-problem")
    page.split_view(fields, _shown)
    return built, built_problem


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A layer has $k \cdot k \cdot c_\text{in} \cdot c_\text{out}$ weights and $c_\text{out}$ biases, transposed or not.
    The code of the reading's autoencoder has five times as many numbers as the image has pixels, so it does not
    compress. The one in chapter 7 does.

    ## Train it

    The training is a separate process. It continues if you reload or close the page or open another chapter. *Stop*
    ends it after the current batch, and *Continue* resumes it after its last whole epoch.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    _paces = ["Quick (a few seconds)", "As in the reading (a few minutes)"]
    pace = mo.ui.radio(_paces, value=_paces[0], label="How long", inline=True)
    pace
    return (pace,)


@app.cell(hide_code=True)
def _(Numbers, TASK, mo, pace):
    _usual = TASK.options({"quick": pace.value.startswith("Quick")})
    settings = mo.ui.anywidget(
        Numbers(
            {
                "Epochs": (1, 500, 1),
                "Images": (100, 60_000, 1),
                "Batch size": (1, 5000, 1),
                "Learning rate": (0.0001, 0.1, 0.0001),
                "Seed": (0, 9999, 1),
            },
            {"": [_usual.epochs, 60_000, _usual.batch_size, _usual.learning_rate, _usual.seed]},
        )
    )
    settings
    return (settings,)


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
    # Not in the cell of the list below, which does not run again when its own list sets the name.
    get_changes()
    job = jobs.find(get_name())
    return (job,)


@app.cell(hide_code=True)
def _(controls, job, mo, training):
    _choices = training.choices("autoencoder", job)
    _shown = next((text for text, name in _choices.items() if job is not None and name == job.name), None)
    run_choice = mo.ui.dropdown(
        _choices, value=_shown or next(iter(_choices)), label="Shown below", on_change=controls.choose, full_width=True
    )
    mo.vstack([run_choice, *training.shared()])
    return


@app.cell(hide_code=True)
def _(READING, built, built_problem, controls, counted, get_changes, job, jobs, mo, settings):
    get_changes()

    def _start():
        if built is None or built_problem:
            raise jobs.JobError(f"the layers above cannot be trained: {built_problem}")
        options = [
            *("--epochs", str(settings.number("Epochs")), "--batch-size", str(settings.number("Batch size"))),
            *("--learning-rate", str(settings.number("Learning rate")), "--seed", str(settings.number("Seed"))),
        ]
        if settings.number("Images") < 60_000:
            options += ["--limit", str(settings.number("Images"))]
        if built != READING:
            options += ["--layers", ", ".join(map(str, built))]
        return jobs.start("autoencoder", options)

    def _more(job, now):
        if now.epochs == 0:
            return None
        if now.done < now.epochs:
            return "Continue", lambda: job.resume(now.epochs)
        epochs = settings.number("Epochs")
        return f"Train {counted(epochs, 'epoch')} more", lambda: job.resume(now.epochs + epochs)

    start, stop, further = controls.buttons(job, ("Start training", _start), _more)
    mo.hstack([start, stop, further], justify="start", wrap=True)
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
def _(controls, get_changes, job, mo, page, pulse, set_done, training):
    get_changes()
    mo.stop(job is None, page.html('<p class="lab-soft">Shown below: the trained one that ships with unstride.</p>'))
    progress = job.progress()
    set_done(progress.done)
    if pulse.on and not progress.active:  # the training has ended, so the buttons and the list change
        controls.changed()
    training.panel(job, progress)
    return


@app.cell(hide_code=True)
def _(get_done, job, page, training):
    get_done()
    (
        page.html('<p class="lab-soft">Choose a run, or start one, to see its curves.</p>')
        if job is None
        else training.curves(job.progress(), "binary cross-entropy")
    )
    return


@app.cell(hide_code=True)
def _(Autoencoder, get_done, job, training):
    _done = get_done()
    try:
        network, missing = Autoencoder(training.exported("autoencoder", job)), ""
    except ValueError as _error:
        network, missing = None, str(_error)
    return missing, network


@app.cell(hide_code=True)
def _(contact_sheet, cross_entropy, missing, mo, network, np, page, squared_error, training):
    mo.stop(network is None, page.note(missing, name="reconstructions"))
    _digits = training.Digits.one_each()
    _reconstructed = network.reconstructed(_digits)
    mo.vstack(
        [
            page.picture(
                contact_sheet.grid(np.concatenate([_digits, _reconstructed])),
                "Ten test images, one of each class, above their reconstructions.",
                "One test image of each class above its reconstruction. They are redrawn after every epoch.",
                scale=2.4,
                name="reconstructions",
            ),
            page.facts(
                {
                    "Squared error": f"{squared_error(_digits, _reconstructed).mean():.4f}",
                    "Cross-entropy": f"{cross_entropy(_digits, _reconstructed).mean():.4f}",
                },
                name="errors",
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Draw a digit for it

    Use mouse or finger. With the keyboard, arrow keys move the pen, and Shift with an arrow key draws.
    """)
    return


@app.cell(hide_code=True)
def _(Pad, mo):
    pad = mo.ui.anywidget(Pad())
    return (pad,)


@app.cell(hide_code=True)
def _(contact_sheet, counted, missing, mo, network, np, pad, page, squared_error):
    def _result():
        if network is None:
            return page.note(missing, name="drawn")
        pad.value
        drawing = pad.image
        if drawing is None:
            return page.note("Nothing is drawn yet. Draw a digit to see its code and its reconstruction.", name="drawn")
        image = drawing[None] / np.float32(255)
        outputs = network.activations(image)
        code, back = outputs[network.coded][0], outputs[-1][..., 0]
        maps = np.moveaxis(code, -1, 0)
        return mo.vstack(
            [
                page.row(
                    page.picture(back[0], "The reconstruction of your digit.", "Reconstruction", scale=7, name="drawn"),
                    page.picture(
                        contact_sheet.grid(maps / max(float(maps.max()), 1e-6), 4),
                        "The channels of your digit's code.",
                        f"Its code, {code.shape[0]}×{code.shape[1]} cells and {counted(code.shape[2], 'channel')}",
                        scale=2,
                    ),
                    least="10rem",
                ),
                page.facts({"Squared error": f"{squared_error(image, back)[0]:.4f}"}, name="drawn-error"),
            ]
        )

    page.split_view(pad, _result())
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Which cells of the code make a pixel

    Point at a pixel of the reconstruction, or move there with the arrow keys. The outline on the code encloses the
    cells that *can* reach it, which depends only on the kernels, strides and crops of the layers. The colours show how
    strongly each cell *does*, for this image: the derivative of the pixel, before its sigmoid, with respect to the
    cell's channels. It is computed with the library's own transposes: the gradient goes back through a transposed
    convolution by the ordinary convolution with the same kernel.
    """)
    return


@app.cell(hide_code=True)
def _(Numbers, mo):
    source = mo.ui.radio(["A test image", "My drawing"], value="A test image", label="Look at", inline=True)
    number = mo.ui.anywidget(Numbers({"Number of the test image": (0, 9999, 1)}, {"": [0]}))
    mo.vstack([source, number])
    return number, source


@app.cell(hide_code=True)
def _(np, number, pad, source, training):
    pad.value
    _drawing = pad.image
    looked_at, looked_problem = training.Digits.read()[0][number.number("Number of the test image")], ""
    if source.value == "My drawing":
        if _drawing is None:
            looked_problem = "Nothing is drawn yet, so the test image is shown. Draw a digit on the pad above."
        else:
            looked_at = _drawing / np.float32(255)
    return looked_at, looked_problem


@app.cell(hide_code=True)
def _(Pixels, mo):
    # Made once, so that the chosen pixel stays when the picture changes.
    output_pixels = mo.ui.anywidget(Pixels(choose=True, name="The reconstruction", cell=[14, 14]))
    code_pixels = mo.ui.anywidget(Pixels(signed=True, name="The code's grid: how strongly each cell acts on the pixel"))
    return code_pixels, output_pixels


@app.cell(hide_code=True)
def _(looked_at, missing, mo, network, output_pixels, page):
    mo.stop(network is None, page.note(missing))
    output_pixels.widget.values = network.reconstructed(looked_at[None])[0].round(4).tolist()
    return


@app.cell(hide_code=True)
def _(code_pixels, looked_at, looked_problem, mo, network, np, output_pixels, page):
    mo.stop(network is None)
    _row, _column = (int(at) for at in (output_pixels.value["cell"] or [14, 14]))
    _reach = network.reach((_row, _column))
    _influence = network.influence(looked_at, (_row, _column)).sum(-1)
    _most = float(np.abs(_influence).max()) or 1.0
    code_pixels.widget.values = (_influence / _most).round(3).tolist()
    code_pixels.widget.marked = _reach.astype(int).tolist()
    _rows = np.flatnonzero(_reach.any(1))
    _columns = np.flatnonzero(_reach.any(0))
    _where = (
        f"rows {_rows[0]} to {_rows[-1]}, columns {_columns[0]} to {_columns[-1]}" if len(_rows) else "none of them"
    )
    mo.vstack(
        [
            *([page.problem(looked_problem)] if looked_problem else []),
            page.facts(
                {
                    "Cells that reach it": f"{int(_reach.sum())} of {_reach.size}",
                    "They are": _where,
                    "Strongest derivative": f"{_most:.3f}",
                },
                name="reach",
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(code_pixels, output_pixels, page):
    page.row(output_pixels, code_pixels, least="15rem")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Every layer's maps

    The output of every layer for the same image, a tile for each channel. White is the largest value in the layer.
    """)
    return


@app.cell(hide_code=True)
def _(contact_sheet, counted, looked_at, mo, network, np, page):
    mo.stop(network is None)

    def _maps(at, row, values):
        channels = np.moveaxis(values[0], -1, 0)
        return page.picture(
            contact_sheet.grid(channels / max(float(values.max()), 1e-6), min(8, len(channels))),
            f"{counted(len(channels), 'map')} of the layer {row.name}.",
            f"{row.name}: {row.side}×{row.side}×{row.layer.filters}{', the code' if at == network.coded else ''}",
            scale=2 if len(channels) > 1 else 4,
            name=f"maps-{row.name}",
        )

    _outputs = network.activations(looked_at[None])
    mo.vstack([_maps(at, *pair) for at, pair in enumerate(zip(network.rows, _outputs, strict=True))])
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("autoencoder")
    return


if __name__ == "__main__":
    app.run()

# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 7 of the lab: digits as a few numbers."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="7. Compress", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import marimo as mo
    import numpy as np

    from unstride import codes
    from unstride._messages.wording import counted
    from unstride.app import contact_sheet
    from unstride.app.tasks.autoencoder.metrics import squared_error
    from unstride.app.tasks.compressor.inference import Compressor
    from unstride.lab import page, training
    from unstride.lab.widgets import Map, Numbers, Pad

    page.header("compress")
    return Compressor, Map, Numbers, Pad, codes, contact_sheet, counted, mo, np, page, squared_error, training


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The compressor's encoder has strides: $28 \times 28$ pixels become $14 \times 14$, then $7 \times 7$, then a
    **code** of a few numbers. Its decoder turns them into a $7 \times 7$ grid and doubles it twice, by transposed
    convolutions with stride 2. With the code $z = E(x)$ and the decoder $D$, only $z$ is kept of a digit, and
    $D(z) \approx x$.

    ## A code, number by number

    Choose a test image and a run. Each bar is a number of the code. Change one and see the effect on the digit.
    """)
    return


@app.cell(hide_code=True)
def _(Numbers, mo, training):
    run_choice = mo.ui.dropdown(
        training.choices("compressor", None),
        value="The trained one that ships with unstride",
        label="Compressor",
        full_width=True,
    )
    number = mo.ui.anywidget(Numbers({"Test image": (0, 9999, 1)}, {"": [7]}))
    mo.vstack([run_choice, *training.shared(), number])
    return number, run_choice


@app.cell(hide_code=True)
def _(Compressor, page, run_choice, training):
    from unstride.lab import jobs

    def _loaded():
        job = None if run_choice.value == training.SHIPPED else jobs.find(run_choice.value)
        return Compressor(training.exported("compressor", job))

    try:
        network, _shown = _loaded(), None
    except ValueError as _error:  # the run has no whole epoch yet
        network = Compressor(training.exported("compressor", None))
        _shown = page.problem(f"{_error}; the one that ships is used instead", name="run-problem")
    _shown
    return (network,)


@app.cell(hide_code=True)
def _(Numbers, mo, network, number, page, training):
    image = training.Digits.read()[0][number.number("Test image")]
    code = network.encoded(image[None])[0]
    which = mo.ui.anywidget(Numbers({"Number of the code": (1, network.code, 1)}, {"": [1]}))
    change = page.slider(-15, 15, step=0.5, value=0, label="Added to it", show_value=True)
    return change, code, image, which


@app.cell(hide_code=True)
def _(change, code, counted, image, network, np, page, squared_error, which):
    _changed = code.copy()
    _changed[which.number("Number of the code") - 1] += change.value
    _kept, _decoded = network.decoded(np.stack([code, _changed]))
    _most = max(float(np.abs(_changed).max()), 1e-6)
    _width = 100 / len(code)
    _colours = ["accent"] * len(code)
    _colours[which.number("Number of the code") - 1] = "bad"
    _bars = "".join(
        f'<rect x="{at * _width + 0.3:.2f}" width="{_width - 0.6:.2f}" y="{20 - max(value, 0) / _most * 18:.2f}" '
        f'height="{abs(value) / _most * 18:.2f}" fill="var(--lab-{_colours[at]})"/>'
        for at, value in enumerate(_changed)
    )
    _label = f"The code: {counted(len(code), 'number')}"
    _svg = (
        f'<svg viewBox="0 0 100 40" role="img" aria-label="{_label}" class="lab-curves">'
        f'{_bars}<line x1="0" x2="100" y1="20" y2="20" stroke="var(--lab-line)" stroke-width=".4"/></svg>'
    )
    _shown = page.html(
        page.row(
            page.picture(image, "The test image.", "The image, 784 pixels", scale=6),
            page.picture(
                _kept, "The image decoded from its code.", f"From its code, {counted(len(code), 'number')}", scale=6
            ),
            page.picture(
                _decoded, "The image decoded from the changed code.", "From the changed code", scale=6, name="changed"
            ),
            least="9rem",
        ).text
        + page.figure(_svg, "The code, with the changed number in another colour.", scroll=False).text
        + page.facts(
            {
                "Squared error": f"{squared_error(image[None], _kept[None])[0]:.4f}",
                "Of the changed code": f"{squared_error(image[None], _decoded[None])[0]:.4f}",
                "Smaller by": f"{784 / len(code):.1f} times",
            },
            name="code",
        ).text
    )
    page.split_view(page.stack(which, change), _shown)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## From one digit to another

    The point at the share $t$ of the straight line from code $a$ to code $b$ is $(1 - t)\,a + t\,b$. Decoded, it is a
    shape between the two. The mean of the two *images*, in contrast, shows both digits at half strength.
    """)
    return


@app.cell(hide_code=True)
def _(Numbers, mo, page):
    both = mo.ui.anywidget(Numbers({"From test image": (0, 9999, 1), "To test image": (0, 9999, 1)}, {"": [0, 4]}))
    drawn = mo.ui.checkbox(label="From my drawing instead")
    share = page.slider(0, 1, step=0.01, value=0.5, label="Share t", show_value=True)
    mo.vstack([both, mo.hstack([drawn, share], justify="start", wrap=True, gap=1)])
    return both, drawn, share


@app.cell(hide_code=True)
def _(Pad, mo):
    pad = mo.ui.anywidget(Pad())
    mo.accordion({"Draw a digit": pad})
    return (pad,)


@app.cell(hide_code=True)
def _(both, drawn, np, pad, training):
    pad.value
    _images = training.Digits.read()[0]
    ends, ends_problem = np.stack([_images[at] for at in both.line()]), ""
    if drawn.value and pad.image is None:
        ends_problem = "Nothing is drawn yet, so the test image is used. Open the pad above and draw a digit."
    elif drawn.value:
        ends[0] = pad.image / np.float32(255)
    return ends, ends_problem


@app.cell(hide_code=True)
def _(codes, contact_sheet, ends, ends_problem, network, np, page, share):
    _a, _b = network.encoded(ends)
    _between = network.decoded(((1 - share.value) * _a + share.value * _b)[None].astype(np.float32))[0]
    _mean = (1 - share.value) * ends[0] + share.value * ends[1]
    _walk = network.decoded(codes.between(_a, _b, 10))
    page.html(
        (page.problem(ends_problem, name="ends-problem").text if ends_problem else "")
        + page.row(
            page.picture(ends[0], "The first image.", "From", scale=6, name="from"),
            page.picture(
                _between,
                f"The digit at {share.value:.2f}.",
                f"Decoded at t = {share.value:.2f}",
                scale=6,
                name="between",
            ),
            page.picture(_mean, "The mean of the two images.", "The images themselves mixed", scale=6, name="mixed"),
            page.picture(ends[1], "The last image.", "To", scale=6),
            least="8rem",
        ).text
        + page.picture(
            contact_sheet.grid(_walk),
            "Ten steps from the first to the last digit.",
            "The whole way, in ten steps.",
            scale=2.4,
            name="walk",
        ).text
        + page.facts({"Distance of the codes": f"{np.linalg.norm(_a - _b):.2f}"}, name="distance").text
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The map of codes

    The codes of test images as points in the plane that separates the classes best (linear discriminants). Point at
    one to see its digit. Click it, or press Enter, to walk from it. The crosses are the two ends above.
    """)
    return


@app.cell(hide_code=True)
def _(page):
    size = page.slider(100, 1000, step=100, value=500, label="How many images", show_value=True)
    size
    return (size,)


@app.cell(hide_code=True)
def _(codes, network, np, size, training):
    _images, _labels = training.Digits.read()
    mapped_codes = network.encoded(_images[: size.value])
    mapped_labels = _labels[: size.value]
    _places = codes.plane(mapped_codes, mapped_labels)
    # The projection is an affine map of the code, recovered here for other codes.
    _affine, *_ = np.linalg.lstsq(np.c_[mapped_codes, np.ones(len(mapped_codes))], _places, rcond=None)
    low, high = _places.min(0), _places.max(0)

    def place(code):
        """The position of a code on the map, from 0 to 1."""
        return (np.r_[code, 1] @ _affine - low) / (high - low)

    points = (_places - low) / (high - low)
    return mapped_labels, place, points


@app.cell(hide_code=True)
def _(Map, mo):
    map_picture = mo.ui.anywidget(Map())
    return (map_picture,)


@app.cell(hide_code=True)
def _(contact_sheet, map_picture, mapped_labels, page, points, training):
    from unstride.app.tasks.compressor.charts import POINTS

    _columns = 25
    _light, _dark = (colours.split() for colours in POINTS.values())
    _images = training.Digits.read()[0][: len(points)]
    map_picture.widget.colours, map_picture.widget.dark_colours = _light, _dark
    map_picture.widget.columns = _columns
    map_picture.widget.sheet = page.data_uri(contact_sheet.grid(_images, _columns, 0))[0]
    map_picture.widget.points = [
        [round(float(x), 4), round(float(y), 4), int(label)]
        for (x, y), label in zip(points, mapped_labels, strict=True)
    ]
    _key = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="6" fill="light-dark({a}, {b})"/>'
        f"</svg> {digit}</li>"
        for digit, (a, b) in enumerate(zip(_light, _dark, strict=True))
    )
    key = page.html(f'<ul class="lab-key" aria-label="Colours of the classes">{_key}</ul>')
    return (key,)


@app.cell(hide_code=True)
def _(ends, map_picture, network, place):
    map_picture.widget.extra = [
        [*(float(at) for at in place(code)), name]
        for code, name in zip(network.encoded(ends), ("from", "to"), strict=True)
    ]
    return


@app.cell(hide_code=True)
def _(codes, contact_sheet, ends, key, map_picture, mapped_labels, network, np, page, training):
    def _walk(chosen):
        if chosen < 0:
            return page.note("Click a point to walk from it to the last digit above.", name="chosen")
        image = training.Digits.read()[0][chosen]
        label = mapped_labels[chosen] if chosen < len(mapped_labels) else "?"
        return page.picture(
            contact_sheet.grid(network.decoded(codes.between(*network.encoded(np.stack([image, ends[1]])), 10)), 5),
            f"Ten steps from test image {chosen} to the last digit.",
            f"From test image {chosen}, a {label}, to the last.",
            scale=2.4,
            name="chosen",
        )

    page.row(page.stack(map_picture, key), _walk(int(map_picture.value["chosen"])), least="22rem")
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("compress")
    return


if __name__ == "__main__":
    app.run()

# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 9 of the lab: the class of every pixel."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="9. Segment", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import secrets
    from functools import cache
    from html import escape

    import marimo as mo
    import numpy as np
    from PIL import Image

    from unstride import deployed, segmenting
    from unstride.data import pages, scenes
    from unstride.lab import page, uploads
    from unstride.lab.widgets import Compare, Numbers

    page.header("segment")
    return Compare, Image, Numbers, cache, deployed, escape, mo, np, page, pages, scenes, secrets, segmenting, uploads


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A segmenter says for *every* pixel what it belongs to. It needs to see much of the image to know what a thing is,
    and each pixel to know where it ends. A U-Net halves the image three times, and doubles it back by transposed
    convolutions with $k = s = 2$: no two copies overlap, so that there is no checkerboard to begin with. At each size
    the decoder is also given what the encoder had there.

    The network that ships finds handwritten digits, in any colour, over photographs and on plain pages.

    ## A scene

    Each number is another scene or page, of digits and photographs that the network has not seen.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    get_number, set_number = mo.state(1)
    return get_number, set_number


@app.cell(hide_code=True)
def _(mo, secrets, set_number):
    # Apart from the number's own cell, which does not run again when something in it sets the number.
    another = mo.ui.button(label="Another scene", on_click=lambda _: set_number(secrets.randbelow(1_000_000)))
    upload = mo.ui.file(kind="area", label="Your own picture: drop it here, or click to choose", max_size=60_000_000)
    return another, upload


@app.cell(hide_code=True)
def _(Numbers, another, get_number, mo):
    number = mo.ui.anywidget(Numbers({"Scene": (0, 999_999, 1)}, {"": [get_number()]}))
    mo.hstack([number, another], justify="start", wrap=True, align="center")
    return (number,)


@app.cell(hide_code=True)
def _(mo, upload):
    use = mo.ui.radio(
        ["A scene", "A plain page", "My picture"], value="My picture" if upload.value else "A scene", label="Look at"
    )
    mo.vstack([upload, use])
    return (use,)


@app.cell(hide_code=True)
def _(cache, deployed, scenes):
    network = deployed.find("segmenter", "segmenter", None)
    names = network.about["classes"]
    source = cache(scenes.source)
    return names, network, source


@app.cell(hide_code=True)
def _(mo, np, number, page, pages, scenes, source, upload, uploads, use):
    LARGEST = 480  # of a picture's longer side: the digits it learned from are 18 to 64 pixels high
    image, truth, title, _problem, _said = None, None, "", "", ""
    if use.value == "A scene":
        image, truth = scenes.scene(source("test"), (7, number.number("Scene")))
        title = f"Scene {number.number('Scene')}"
    elif use.value == "A plain page":
        image, truth = pages.page(source("test"), (7, number.number("Scene")), (120, 160))
        title = f"Page {number.number('Scene')}"
    elif not upload.value:
        _problem = "There is no picture yet. Drop one on the field above, or choose a scene."
    else:
        _file = upload.value[0]
        title = _file.name
        try:
            _picture, _said = uploads.opened(title, _file.contents, LARGEST)
            image = np.asarray(_picture)
        except ValueError as _error:
            _problem = str(_error)
    mo.stop(bool(_problem), page.problem(_problem, name="upload-problem"))
    page.shown(title, image.shape[1], image.shape[0], _said)
    return image, title, truth


@app.cell(hide_code=True)
def _(image, network, segmenting):
    found = segmenting.classes(network, image)
    listed = segmenting.present(found)
    return found, listed


@app.cell(hide_code=True)
def _(Compare, Image, found, image, listed, mo, np, page, segmenting, title):
    _zoom = max(1, 480 // max(image.shape[:2]))
    _size = (image.shape[1] * _zoom, image.shape[0] * _zoom)

    def _large(values):
        return page.data_uri(np.asarray(Image.fromarray(values).resize(_size, Image.Resampling.NEAREST)))[0]

    mo.ui.anywidget(
        Compare(
            before=_large(image),
            after=_large(segmenting.tinted(image, segmenting.only(found, listed))),
            before_name="The picture",
            after_name="Its classes",
            width=_size[0],
            height=_size[1],
            alt=title,
        )
    )
    return


@app.cell(hide_code=True)
def _(escape, found, listed, names, np, page, segmenting, truth):
    _count = len(names)
    _shares = np.bincount(found.ravel(), minlength=_count) / found.size
    _seen = {0, *listed} if truth is None else {*np.flatnonzero(_shares), *np.unique(truth)}
    _ious = None if truth is None else segmenting.ious(segmenting.confusion(truth, found, _count))

    def _name(at):
        red, green, blue = segmenting.coloured(np.array([[at]], np.uint8))[0, 0]
        swatch = f'<span class="lab-swatch" style="background:rgb({red} {green} {blue})"></span>'
        return f"{swatch} {escape(names[at])}"

    def _share(value):
        return "&lt;0.1%" if 0 < value < 0.001 else f"{value:.1%}"

    _columns = ("Class", "Found on") if truth is None else ("Class", "Found on", "Truly on", "IoU")
    _rows = [
        (
            _name(at),
            _share(_shares[at]),
            *(() if truth is None else (_share(np.mean(truth == at)), f"{_ious[at]:.3f}")),
        )
        for at in sorted(int(at) for at in _seen)
    ]
    _digits = ", ".join(names[at] for at in listed)
    _facts = {"Digits found": _digits or "none: it knows handwritten ones, 20 to 60 pixels high"}
    if truth is not None:
        _facts = {
            "Mean IoU": f"{np.nanmean(_ious):.3f}",
            "Pixels right": f"{np.mean(truth == found):.1%}",
            **_facts,
        }
    page.html(
        page.facts(_facts, name="figures").text
        + page.table(_columns, _rows, numbers=tuple(range(1, len(_columns))), name="classes").text
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The intersection over union of a class is $|A \cap B| / |A \cup B|$: the pixels both truly its and found to be, by
    those that are either. The mean is over the classes that are there or were found.
    """)
    return


@app.cell(hide_code=True)
def _(found, image, mo, np, page, segmenting, truth):
    mo.stop(truth is None)
    _wrong = np.where((truth != found)[..., None], [220, 40, 40], image * 0.35).astype(np.uint8)
    page.row(
        page.picture(segmenting.coloured(truth), "The true classes.", "Truth", scale=2.4),
        page.picture(segmenting.coloured(found), "The classes found.", "Found", scale=2.4, name="found"),
        page.picture(_wrong, "The wrong pixels in red.", "Wrong pixels", scale=2.4, name="wrong"),
        least="9rem",
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("segment")
    return


if __name__ == "__main__":
    app.run()

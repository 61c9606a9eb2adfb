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

    from unstride.app import weights
    from unstride.app.tasks.segmenter import inference
    from unstride.data import pages, scenes
    from unstride.lab import page, uploads
    from unstride.lab.widgets import Compare, Numbers

    page.header("segment")
    return Compare, Image, Numbers, cache, weights, escape, mo, np, page, pages, scenes, secrets, inference, uploads


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A segmenter assigns a class to *every* pixel. To know what an object is, it must see much of the image; to know
    where it ends, single pixels. A U-Net halves the image three times and doubles it again by transposed convolutions
    with $k = s = 2$, whose copies do not overlap, so that there is no checkerboard. At each size the decoder also gets
    the encoder's features.

    The network in the package finds handwritten digits, in any colour, over photographs and on plain pages.

    ## A scene

    Each number is another scene or page, with digits and photographs that the network has not seen.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    get_number, set_number = mo.state(1)
    return get_number, set_number


@app.cell(hide_code=True)
def _(mo, secrets, set_number):
    # Not in the number's own cell, which does not run again when something in it sets the number.
    another = mo.ui.button(label="Another scene", on_click=lambda _: set_number(secrets.randbelow(1_000_000)))
    upload = mo.ui.file(kind="area", label="Your own picture: drop it here, or click to choose", max_size=60_000_000)
    return another, upload


@app.cell(hide_code=True)
def _(Numbers, get_number, mo):
    number = mo.ui.anywidget(Numbers({"Scene": (0, 999_999, 1)}, {"": [get_number()]}))
    return (number,)


@app.cell(hide_code=True)
def _(mo, upload):
    use = mo.ui.radio(
        ["A scene", "A plain page", "My picture"], value="My picture" if upload.value else "A scene", label="Look at"
    )
    return (use,)


@app.cell(hide_code=True)
def _(cache, weights, scenes):
    network = weights.find("segmenter", "segmenter", None)
    names = network.about["classes"]
    source = cache(scenes.source)
    return names, network, source


@app.cell(hide_code=True)
def _(np, number, pages, scenes, source, upload, uploads, use):
    LARGEST = 480  # the longer side of a picture, because training digits are 18 to 64 pixels high
    image, truth, title, problem, said = None, None, "", "", ""
    if use.value == "A scene":
        image, truth = scenes.scene(source("test"), (7, number.number("Scene")))
        title = f"Scene {number.number('Scene')}"
    elif use.value == "A plain page":
        image, truth = pages.page(source("test"), (7, number.number("Scene")), (120, 160))
        title = f"Page {number.number('Scene')}"
    elif not upload.value:
        problem = "There is no picture yet. Drop one on its field, or choose a scene."
    else:
        _file = upload.value[0]
        title = _file.name
        try:
            _picture, said = uploads.opened(title, _file.contents, LARGEST)
            image = np.asarray(_picture)
        except ValueError as _error:
            problem = str(_error)
    return image, problem, said, title, truth


@app.cell(hide_code=True)
def _(image, network, problem, inference):
    class_map = None if problem else inference.classes(network, image)
    listed = [] if problem else inference.present(class_map)
    return class_map, listed


@app.cell(hide_code=True)
def _(Compare, Image, class_map, image, listed, mo, np, page, problem, inference, title):
    def _compared():
        zoom = max(1, 480 // max(image.shape[:2]))
        size = (image.shape[1] * zoom, image.shape[0] * zoom)

        def large(values):
            return page.data_uri(np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST)))[0]

        return mo.ui.anywidget(
            Compare(
                before=large(image),
                after=large(inference.tinted(image, inference.only(class_map, listed))),
                before_name="The picture",
                after_name="Its classes",
                width=size[0],
                height=size[1],
                alt=title,
            )
        )

    compared = None if problem else _compared()
    return (compared,)


@app.cell(hide_code=True)
def _(escape, class_map, listed, names, np, page, problem, inference, truth):
    def _name(at):
        red, green, blue = inference.coloured(np.array([[at]], np.uint8))[0, 0]
        swatch = f'<span class="lab-swatch" style="background:rgb({red} {green} {blue})"></span>'
        return f"{swatch} {escape(names[at])}"

    def _share(value):
        return "&lt;0.1%" if 0 < value < 0.001 else f"{value:.1%}"

    def _metrics():
        known = truth is not None
        shares = np.bincount(class_map.ravel(), minlength=len(names)) / class_map.size
        ious = inference.ious(inference.confusion(truth, class_map, len(names))) if known else None
        # Classes found only in specks are left out, unless they are in the truth.
        seen = sorted({0, *listed, *(map(int, np.unique(truth)) if known else ())})
        columns = ("Class", "Found on", *(("Truly on", "IoU") if known else ()))
        rows = [
            (_name(at), _share(shares[at]), *((_share(np.mean(truth == at)), f"{ious[at]:.3f}") if known else ()))
            for at in seen
        ]
        digits = ", ".join(names[at] for at in listed)
        metrics = {"Digits found": digits or "none: it knows handwritten ones, 20 to 60 pixels high"}
        if known:
            mean, right = f"{np.nanmean(ious):.3f}", f"{np.mean(truth == class_map):.1%}"
            metrics = {"Mean IoU": mean, "Pixels right": right, **metrics}
        return page.stack(
            page.facts(metrics, name="figures"),
            page.table(columns, rows, numbers=tuple(range(1, len(columns))), name="classes"),
        )

    metrics = None if problem else _metrics()
    return (metrics,)


@app.cell(hide_code=True)
def _(another, compared, metrics, image, mo, number, page, problem, said, title, upload, use):
    page.split_view(
        page.stack(use, mo.hstack([number, another], justify="start", wrap=True, align="center"), upload),
        page.problem(problem, name="upload-problem")
        if problem
        else page.stack(
            page.shown(title, image.shape[1], image.shape[0], said),
            page.row(compared, metrics, least="18rem"),
        ),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The intersection over union of a class is $|A \cap B| / |A \cup B|$, where $A$ are the pixels of the class and $B$
    those assigned to it. The mean is over all classes that are in the picture or were assigned anywhere, even to a
    single pixel. The table leaves out classes that were found only in specks.
    """)
    return


@app.cell(hide_code=True)
def _(class_map, image, mo, page, inference, truth):
    mo.stop(truth is None)
    page.row(
        page.picture(inference.coloured(truth), "The true classes.", "Truth", scale=2.4),
        page.picture(inference.coloured(class_map), "The classes found.", "Found", scale=2.4, name="found"),
        page.picture(
            inference.wrong_pixels(image, truth, class_map),
            "The wrong pixels in red.",
            "Wrong pixels",
            scale=2.4,
            name="wrong",
        ),
        least="9rem",
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("segment")
    return


if __name__ == "__main__":
    app.run()

# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 8 of the lab: pictures made larger."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="8. Upscale", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import io

    import marimo as mo
    import numpy as np
    from PIL import Image

    from unstride.app import contact_sheet, weights
    from unstride.app.tasks.upscaler.inference import Upscaler
    from unstride.app.tasks.upscaler.metrics import quality
    from unstride.data import photographs
    from unstride.lab import page, uploads
    from unstride.lab.widgets import Compare
    from unstride.models._upscaler import SCALES, bicubic, taps

    page.header("upscale")
    return (
        Compare,
        Image,
        SCALES,
        Upscaler,
        bicubic,
        contact_sheet,
        io,
        mo,
        np,
        page,
        photographs,
        quality,
        taps,
        uploads,
        weights,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Bicubic interpolation to $s$ times the size *is* a transposed convolution with stride $s$: every small pixel places
    a copy of the same smooth kernel, and the copies are summed. The network's last layer is initialised as exactly
    that, and training improves on it. All other layers work on the small image, which has $s^2$ times fewer pixels.

    ## A picture, enlarged

    Choose a photograph that the network has not seen, or your own picture, which stays on this machine. Either reduce
    it first, so that the original can be compared with the result, or enlarge it unchanged. The result can be saved.
    """)
    return


@app.cell(hide_code=True)
def _(SCALES, mo, photographs):
    names = {name.rsplit(".", 1)[0]: (package, name) for package, name in photographs.TEST}
    chosen = mo.ui.dropdown(list(names), value="chelsea", label="Photograph")
    scale = mo.ui.dropdown({f"×{at}": at for at in SCALES}, value="×3", label="Scale")
    way = mo.ui.radio(
        ["Make it smaller first, and compare", "Enlarge it as it is"],
        value="Make it smaller first, and compare",
        label="What to do",
    )
    upload = mo.ui.file(kind="area", label="Your own picture: drop it here, or click to choose", max_size=60_000_000)
    return chosen, names, scale, upload, way


@app.cell(hide_code=True)
def _(chosen, names, photographs, scale, upload, uploads, way):
    known = way.value.startswith("Make")
    LARGEST = 1000  # the longer side of compared pictures: enough for any screen, and fast
    MAX_PIXELS = 16_000_000  # of a result without an original
    picture, title, said, problem = None, chosen.value, "", ""
    try:
        if upload.value:
            _file = upload.value[0]
            title = _file.name
            picture, said = uploads.opened(title, _file.contents, LARGEST if known else None)
        else:
            picture = photographs.read(*names[chosen.value]).convert("RGB")
        _least, _pixels = 16 * scale.value, picture.width * picture.height * scale.value**2
        if known and min(picture.size) < _least:
            problem = (
                f"{title}: {picture.width}×{picture.height} pixels; expected at least {_least} a side to make it "
                f"{scale.value} times smaller. Enlarge it as it is instead"
            )
        elif not known and _pixels > MAX_PIXELS:
            problem = (
                f"{title}: {picture.width}×{picture.height} pixels, of which ×{scale.value} makes "
                f"{_pixels / 1e6:.0f} million; expected at most {MAX_PIXELS // 1_000_000} million on this page. Use a "
                "smaller scale, or the command line, which works in tiles: unstride upscale PICTURE -o large.png "
                f"--scale {scale.value}"
            )
    except ValueError as _error:
        problem = str(_error)
    return known, picture, problem, said, title


@app.cell(hide_code=True)
def _(Upscaler, weights, scale):
    network = Upscaler(weights.find("upscaler", f"upscaler_x{scale.value}", None))
    return (network,)


@app.cell(hide_code=True)
def _(Image, known, network, photographs, picture, problem, scale):
    cubic = original = ours = small = None
    if not problem:
        original, small = photographs.small(picture, scale.value) if known else (None, picture)
        _size = (small.width * scale.value, small.height * scale.value)
        cubic = small.resize(_size, Image.Resampling.BICUBIC)
        ours = network.picture(small)
    return cubic, original, ours, small


@app.cell(hide_code=True)
def _(Compare, Image, cubic, mo, np, ours, page, problem, title):
    SHOWN = 1000  # pixels of the longer side

    def _fitting(image):
        """Reduce an image to the size that a page shows."""
        image = image.copy()
        image.thumbnail((SHOWN, SHOWN), Image.Resampling.BICUBIC)
        return image

    compared = None
    if not problem:
        _before, _after = _fitting(cubic), _fitting(ours)
        compared = mo.ui.anywidget(
            Compare(
                before=page.data_uri(np.asarray(_before))[0],
                after=page.data_uri(np.asarray(_after))[0],
                before_name="Bicubic",
                after_name="The network",
                width=_before.width,
                height=_before.height,
                alt=title,
            )
        )
        if _before.size != cubic.size:
            compared = mo.vstack(
                [
                    compared,
                    page.note(
                        f"Shown smaller, as {_before.width}×{_before.height}. The download has all of its "
                        f"{cubic.width}×{cubic.height} pixels, and so have the pieces below.",
                        name="smaller",
                    ),
                ]
            )
    return (compared,)


@app.cell(hide_code=True)
def _(io, mo, ours, scale, title):
    def _png():
        file = io.BytesIO()
        ours.save(file, "PNG")
        return file.getvalue()

    download = mo.download(
        _png,
        filename=f"{title.rsplit('.', 1)[0]}-x{scale.value}.png",
        mimetype="image/png",
        disabled=ours is None,
        label="Download the enlarged picture",
    )
    return (download,)


@app.cell(hide_code=True)
def _(
    chosen,
    compared,
    cubic,
    download,
    known,
    np,
    original,
    ours,
    page,
    picture,
    problem,
    quality,
    said,
    scale,
    small,
    title,
    upload,
    way,
):
    def _figures():
        if not known:
            return {
                "Enlarged": f"{small.width}×{small.height} to {ours.width}×{ours.height}",
                "PSNR and SSIM": "unknown: there is no original",
            }
        truth, *enlarged = (np.asarray(image.convert("L")) for image in (original, cubic, ours))
        (psnr_cubic, ssim_cubic), (psnr, ssim) = (quality(truth, image, scale.value) for image in enlarged)
        return {
            "Gained": f"{psnr - psnr_cubic:+.2f} dB",
            "PSNR of the network": f"{psnr:.2f} dB",
            "PSNR of bicubic": f"{psnr_cubic:.2f} dB",
            "SSIM of the network": f"{ssim:.4f}",
            "SSIM of bicubic": f"{ssim_cubic:.4f}",
        }

    page.split_view(
        page.stack(chosen, scale, way, upload, download),
        page.problem(problem, name="upload-problem")
        if problem
        else page.stack(
            page.shown(title, picture.width, picture.height, said),
            compared,
            page.facts(_figures(), name="quality"),
        ),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The peak signal-to-noise ratio is $10 \log_{10}(255^2 / \text{MSE})$ of the luminance. One decibel more means that
    the mean squared error is lower by a fifth. SSIM compares the means, deviations and correlation of small windows; it
    is 1 for equal images.

    ## A closer look
    """)
    return


@app.cell(hide_code=True)
def _(contact_sheet, cubic, known, mo, np, original, ours, page, problem):
    mo.stop(bool(problem))
    # The place of the largest gain, or, without an original, of the largest difference from bicubic.
    _grey = [np.asarray(image.convert("L")) for image in (original if known else ours, cubic, ours)]
    _top, _left = contact_sheet.most_gained(*_grey)
    _height, _width = _grey[0].shape
    across = page.slider(
        0,
        max(1, _width - contact_sheet.PIECE),
        value=min(_left, max(1, _width - contact_sheet.PIECE)),
        label="From the left",
        show_value=True,
    )
    down = page.slider(
        0,
        max(1, _height - contact_sheet.PIECE),
        value=min(_top, max(1, _height - contact_sheet.PIECE)),
        label="From the top",
        show_value=True,
    )
    mo.hstack([across, down], justify="start", wrap=True, gap=1.5)
    return across, down


@app.cell(hide_code=True)
def _(Image, across, contact_sheet, cubic, down, known, np, original, ours, page, small):
    _here = np.s_[down.value : down.value + contact_sheet.PIECE, across.value : across.value + contact_sheet.PIECE]
    _small = small.resize(cubic.size, Image.Resampling.NEAREST)
    _shown = [("The small image's pixels", _small), ("Bicubic", cubic), ("The network", ours)]
    if known:
        _shown.append(("The original", original))
    page.row(
        *[
            page.picture(np.asarray(image)[_here], f"A piece: {name}.", name, scale=3.4, name=f"piece-{at}")
            for at, (name, image) in enumerate(_shown)
        ],
        least="9rem",
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The kernel of the last layer

    The last layer's kernel for the channel that holds the image itself: the bicubic kernel, changed by the training.
    """)
    return


@app.cell(hide_code=True)
def _(bicubic, weights, np, page, scale, taps):
    _kernel = weights.find("upscaler", f"upscaler_x{scale.value}", None).layer("enlarge")[0][:, :, 0, -1]
    _cubic = bicubic(scale.value)
    _low, _high = min(_kernel.min(), _cubic.min()), max(_kernel.max(), _cubic.max())
    _side = taps(scale.value)
    page.html(
        page.row(
            page.picture(
                (_cubic - _low) / (_high - _low), "Bicubic's kernel.", f"Bicubic's, {_side}×{_side}", scale=14
            ),
            page.picture((_kernel - _low) / (_high - _low), "The trained kernel.", "After training", scale=14),
            least="9rem",
        ).text
        + page.facts(
            {
                "Taps": f"{_side}×{_side}, stride {scale.value}",
                "Sum of bicubic's": f"{_cubic.sum():.2f}",
                "Sum after training": f"{_kernel.sum():.2f}",
                "Largest change": f"{np.abs(_kernel - _cubic).max():.3f}",
            },
            name="kernel",
        ).text
    )
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("upscale")
    return


if __name__ == "__main__":
    app.run()

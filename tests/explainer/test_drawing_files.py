"""The files that pictures of a trace are written to: SVG, PNG and GIF; and what is refused."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn import CASES, VIEWS, moving, pictures, random_trace, still, texts
from PIL import Image

import unstride as us
from unstride.explainer import drawing
from unstride.explainer.drawing import page, palette, raster, vector
from unstride.explainer.drawing.views import View

SVG = "{http://www.w3.org/2000/svg}"


# SVG


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"animate": False}, {"step": 1}, {"theme": "dark"}], ids=str)
@pictures
def test_svg_is_well_formed_and_whole_in_itself(case, view, options):
    trace = CASES[case]
    if len(trace.steps(view)) == 1:
        options = {name: value for name, value in options.items() if name != "step"}
    text = drawing.svg(trace, view=view, **options)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title").text == root.get("aria-label")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|@import|xlink", text)
    assert ("prefers-color-scheme" in text) == (options.get("theme", "auto") == "auto")
    animated = not {"animate", "step"} & set(options) and len(trace.steps(view)) > 1
    assert ("@keyframes" in text) == animated


@pictures
def test_svg_shows_of_each_frame_what_belongs_to_it(case, view):
    """By its own style sheet: the animations are followed, and the programs that know none see the last frame."""
    scene = moving(case, view)
    text = vector.svg(scene, "light", 1.0)
    count = len(scene.frames)
    keys = dict(re.findall(r"@keyframes u[0-9a-f]{8}-(\d+-\d+)\{(.*?\})\}", text))
    shown = [Counter() for _ in range(count)]
    still = Counter()
    for element, visible, hidden in walk(ElementTree.fromstring(text)):
        still[element] += not hidden
        for index in range(count):
            shown[index][element] += visible is None or visible_at(keys[visible], index / (count + vector.HOLD) * 100)
    for index in range(count):
        assert +shown[index] == texts(scene.frame(index))
    assert +still == texts(scene.frame(count - 1))


def walk(element, visible=None, hidden=False):
    for child in element:
        name = child.get("class") or ""
        own = name[1:] if re.fullmatch(r"t\d+-\d+", name) else visible
        gone = hidden or child.get("visibility") == "hidden"
        if child.tag == f"{SVG}text":
            yield child.text, own, gone
        yield from walk(child, own, gone)


def visible_at(keyframes, percent):
    """Between two keys the value of the first holds; a key counts from its percentage on."""
    state = "hidden"
    for place, value in re.findall(r"([\d.]+%|to)\{visibility:(\w+)\}", keyframes):
        if place != "to" and float(place[:-1]) <= percent + 1e-3:
            state = value
    return state == "visible"


def test_styles_of_two_pictures_on_one_page_do_not_mix():
    names = {re.search(r'class="(u[0-9a-f]{8})"', drawing.svg(CASES["2x2"], view=view)).group(1) for view in VIEWS}
    assert len(names) == len(VIEWS)
    text = drawing.svg(CASES["2x2"])
    rules = re.findall(r"([^{}]+)\{", re.search(r"<style>(.*)</style>", text).group(1))
    own = re.search(r'class="(u[0-9a-f]{8})"', text).group(1)
    assert all(own in rule for rule in rules if re.match(r"\s*[.#]", rule))


# PNG and GIF


@pytest.mark.slow
@pictures
def test_png_has_the_size_of_the_drawing_times_the_scale(case, view):
    trace = CASES[case]
    scene = still(case, view)
    for scale, theme in ((1, "light"), (1.5, "dark"))[: 1 + (case == "cropped")]:
        content = drawing.png(trace, view=view, scale=scale, theme=theme)
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG"
            assert image.size == (round(scene.width * scale), round(scene.height * scale))
            assert image.info["dpi"][0] == pytest.approx(96 * scale, abs=0.1)
            corner = tuple(int(palette.THEMES[theme].paper[n : n + 2], 16) for n in (1, 3, 5))
            assert image.convert("RGB").getpixel((0, 0)) == corner


def test_the_same_trace_gives_the_same_bytes():
    first, second = (random_trace((3, 2), (2, 2), seed=5, stride=2, padding=1) for _ in range(2))
    for view in VIEWS:
        for draw in (drawing.svg, drawing.png, drawing.gif):
            assert draw(first, view=view) == draw(second, view=view)


def test_png_of_a_step_is_the_frame_of_the_animation():
    trace = CASES["cropped"]
    for step in range(len(trace.steps("scatter"))):
        content = drawing.png(trace, view="scatter", step=step, scale=1)
        scene = page.steps(View(trace, "scatter"))
        expected = raster.Artist(palette.LIGHT, 1).image(scene, step)
        with Image.open(io.BytesIO(content)) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(expected))


@pytest.mark.slow
@pictures
def test_gif_has_a_frame_for_each_step(case, view):
    trace = CASES[case]
    content = drawing.gif(trace, view=view, seconds_per_step=0.3)
    steps = len(trace.steps(view))
    artist, scene = raster.Artist(palette.LIGHT, 1), moving(case, view)
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "GIF"
        assert image.n_frames == steps
        assert image.info.get("loop") == 0
        for index in range(steps):
            image.seek(index)
            assert image.info["duration"] == (300 if index < steps - 1 else 900)
            if index in (1, steps - 1):
                seen = np.asarray(image.convert("RGB"), int)
                expected = np.asarray(artist.image(scene, index), int)
                assert np.abs(seen - expected).mean() < 1  # of 255: edges of letters share a palette


# Files and errors


@pytest.mark.parametrize("kind", ["svg", "png", "gif"])
def test_a_path_gets_what_is_returned(kind, tmp_path):
    path = tmp_path / f"picture.{kind}"
    path.write_text("old")
    content = getattr(drawing, kind)(CASES["2x2"], path)
    assert path.read_bytes() == (content.encode() if kind == "svg" else content)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    getattr(drawing, kind)(CASES["2x2"], str(path), view="grid")
    assert path.read_bytes() != (content.encode() if kind == "svg" else content)
    with pytest.raises(OSError, match="nowhere"):
        getattr(drawing, kind)(CASES["2x2"], tmp_path / "nowhere" / f"picture.{kind}")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("svg", {"view": "film"}, "view is 'film'; expected one of 'scatter'"),
        ("svg", {"theme": "blue"}, "theme is 'blue'; expected one of 'auto', 'light', 'dark'"),
        ("png", {"theme": "auto"}, "theme is 'auto'; expected one of 'light', 'dark'"),
        ("svg", {"step": 4}, "step is 4; expected 0 to 3: view 'scatter' has 4 steps"),
        ("svg", {"step": -1}, "step is -1; expected 0 to 3"),
        ("png", {"step": True}, "step is True; expected 0 to 3"),
        ("png", {"step": 1.0}, "step is 1.0; expected 0 to 3"),
        ("png", {"scale": 0}, "scale is 0; expected a number from 0.1 to 100"),
        ("png", {"scale": float("nan")}, "scale is nan; expected"),
        ("png", {"scale": "2"}, "scale is '2'; expected"),
        (
            "png",
            {"scale": 100},
            "scale is 100: the picture would have .* pixels; expected at most .*, here a scale up to",
        ),
        ("gif", {"seconds_per_step": 0}, "seconds_per_step is 0; expected a number from 0.02 to 600"),
        ("gif", {"seconds_per_step": None}, "seconds_per_step is None; expected"),
    ],
)
def test_errors_say_what_was_expected(kind, options, message, tmp_path):
    with pytest.raises(us.GeometryError, match=message):
        getattr(drawing, kind)(CASES["2x2"], tmp_path / f"picture.{kind}", **options)
    assert not list(tmp_path.iterdir())


def test_svg_needs_no_pillow_and_the_others_say_what_to_install():
    program = """
import sys
sys.modules["PIL"] = None
from unstride.explainer import drawing, explain
trace = explain([1, 2], [3, 4])
assert drawing.svg(trace).startswith("<svg")
for draw in (drawing.png, drawing.gif):
    try:
        draw(trace)
    except ModuleNotFoundError as error:
        assert 'pip install "unstride[app]"' in str(error) and error.name == "PIL", error
    else:
        raise SystemExit("no error")
assert not {"matplotlib", "keras", "torch", "jax"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

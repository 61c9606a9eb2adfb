"""The check of a built site finds what a page would load from another site, and links to nothing."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "docs" / "_extensions" / "offline.py"


@pytest.fixture(scope="module")
def offline():
    spec = importlib.util.spec_from_file_location("offline", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<a href="https://elsewhere.org">a link is no request</a><img src="data:image/png;base64,AA==">', []),
        ('<a href="#here" id="here"></a><link rel="next" href="https://elsewhere.org">', []),
        ('<script src="https://elsewhere.org/x.js"></script>', ["page.html loads https://elsewhere.org/x.js"]),
        ('<link rel="stylesheet" href="//elsewhere.org/x.css">', ["page.html loads //elsewhere.org/x.css"]),
        ('<iframe src="gone.html"></iframe>', ["page.html: no file for gone.html"]),
        ('<a href="page.html#gone">', ["page.html: no place for page.html#gone"]),
    ],
)
def test_what_a_page_loads_and_links(offline, tmp_path, page, found):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert offline.problems(tmp_path) == found


def test_style_sheets_load_nothing_from_elsewhere(offline, tmp_path):
    (tmp_path / "x.css").write_text("@font-face { src: url(https://elsewhere.org/x.woff2) }", encoding="utf-8")
    assert offline.problems(tmp_path) == ["x.css loads from another site"]

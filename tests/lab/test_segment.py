"""Chapter 9: scenes, one's own pictures, and the figures where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from lab_harness import Visitor, bring, png
from PIL import Image
from playwright.sync_api import expect

from unstride.app import weights
from unstride.app.tasks.segmenter import inference
from unstride.data import pages, scenes


@pytest.mark.slow
def test_another_scene(visitor: Visitor) -> None:
    page = visitor.open("segment")
    field = page.get_by_role("spinbutton", name="Scene")
    field.fill("4")
    field.press("Tab")
    expect(visitor.lab_part("shown")).to_contain_text("Scene 4")
    network = weights.find("segmenter", "segmenter", None)
    image, truth = scenes.scene(scenes.source("test"), (7, 4))
    found = inference.classes(network, image)
    ious = inference.ious(inference.confusion(truth, found, 11))
    expect(visitor.fact("figures", "Mean IoU")).to_have_text(f"{np.nanmean(ious):.3f}")
    expect(visitor.fact("figures", "Pixels right")).to_have_text(f"{np.mean(found == truth):.1%}")
    rows = visitor.lab_part("classes").locator("tbody tr")
    listed = {0, *inference.present(found), *np.unique(truth)}
    assert not set(np.unique(found)) <= listed  # a class in specks, which is no digit that was found
    expect(rows).to_have_count(len(listed))
    picture = visitor.lab_part("found").locator("img")
    before = picture.get_attribute("src")
    page.get_by_role("button", name="Another scene").click()
    expect(visitor.lab_part("shown")).not_to_contain_text("Scene 4,")
    expect(picture).not_to_have_attribute("src", before or "")
    visitor.untroubled()


@pytest.mark.slow
def test_a_plain_page(visitor: Visitor) -> None:
    page = visitor.open("segment")
    page.get_by_text("A plain page", exact=True).click()
    expect(visitor.lab_part("shown")).to_contain_text("Page 1, 160×120")
    _, truth = pages.page(scenes.source("test"), (7, 1), (120, 160))
    for at in np.unique(truth)[1:]:
        expect(visitor.fact("figures", "Digits found")).to_contain_text(scenes.CLASSES[at])
    expect(visitor.lab_part("classes").locator("thead th")).to_have_count(4)
    visitor.untroubled()


@pytest.mark.slow
def test_a_picture_of_ones_own(visitor: Visitor) -> None:
    page = visitor.open("segment")
    page.get_by_text("My picture").click()
    expect(visitor.lab_part("upload-problem")).to_contain_text("There is no picture yet")
    bring(visitor, "odd.png", png(Image.new("RGB", (131, 77), (90, 120, 60))))
    expect(visitor.lab_part("shown")).to_contain_text("odd.png, 131×77")
    # Only what is known of it: no columns of a truth that nobody knows, no classes that are nowhere.
    expect(visitor.lab_part("classes").locator("thead th")).to_have_text(["Class", "Found on"])
    expect(visitor.lab_part("classes").locator("tbody tr")).to_have_count(1)
    expect(visitor.fact("figures", "Digits found")).to_contain_text("none")
    expect(visitor.fact("figures", "Mean IoU")).to_have_count(0)
    bring(visitor, "notes.txt", b"words")
    expect(visitor.lab_part("upload-problem")).to_contain_text("notes.txt: not an image that Pillow can read")
    page.get_by_text("A scene", exact=True).last.click()
    expect(visitor.fact("figures", "Mean IoU")).to_be_visible()
    visitor.untroubled()

"""The page that shows what was done to a photo."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from restore_env import Tool, Toolbox, restore
from restore_env.cli.likeness import likeness_of
from restore_env.cli.report import report_page, report_values, step_in_words, summary, tool_in_words
from restore_env.policies import Policy
from restore_env.restoration.metrics import psnr, ssim
from restore_env.utils.tensors import images_to_tensor

UP, DOWN, STOP = range(3)


class ByColour(Policy):
    """The left of the photo gets the first tool, the right the second, once each; what is black stays."""

    name = "by-colour"
    patch_size = 32

    def act(self, observation, state):
        first = observation.image[:, 0, 0, 0]
        chosen = torch.where(first > 128, DOWN, torch.where(first > 0, UP, STOP))
        return torch.where(observation.step > 0, STOP, chosen), state


@pytest.fixture
def toolbox():
    up, down = (lambda images, by=by: images + by for by in (0.1, -0.1))
    return Toolbox([Tool("noise-1", up, "noise", (0, 12.5)), Tool("<b>", down)], "two & more")


@pytest.fixture
def photo():
    image = np.full((64, 128, 3), 100, np.uint8)
    image[:, 64:] = 200
    image[32:, 64:] = 0
    return image


class Page(HTMLParser):
    """Collects the tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def image_of(source):
    content = base64.b64decode(source.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)


def test_the_page_shows_each_step_and_needs_no_other_file(photo, toolbox):
    restored = restore(photo, ByColour(), toolbox, record=True)
    text = report_page("a <photo>.png", photo, restored, toolbox, 1.5)
    page = Page(text)
    assert not re.search(r'(src|href)="(?!data:)', text) and "http" not in text
    assert (
        page.all("title")[0] == {} and "a <photo>.png, restored" in page.text and "128 x 64 pixels, 1.5 s" in page.text
    )
    images = [attributes["src"] for attributes in page.all("img")]
    assert np.abs(image_of(images[0]) - photo).mean() < 3
    assert np.abs(image_of(images[1]) - restored.image).mean() < 3
    assert len(images) == 2 + 2 * len(restored.steps)
    assert np.abs(image_of(images[2]) - restored.images[0]).mean() < 3
    assert "Removed slight noise in 50% of the picture; applied <b> in 25% of the picture." in page.text
    assert json.loads(text.split("<pre>")[1].split("</pre>")[0].replace("&quot;", '"').replace("&lt;", "<")
                      .replace("&gt;", ">").replace("&amp;", "&"))["toolbox"] == "two & more"  # fmt: skip


def test_the_map_has_a_rectangle_for_each_region_with_a_tool(photo, toolbox):
    restored = restore(photo, ByColour(), toolbox, record=True)
    page = Page(report_page("photo", photo, restored, toolbox, 1.0))
    assert restored.choices[0].tolist() == [[UP, UP, DOWN, DOWN], [UP, UP, STOP, STOP]]
    rectangles = page.all("rect")
    assert len(rectangles) == 6  # nothing in the second step
    assert (rectangles[0]["x"], rectangles[0]["y"], rectangles[0]["width"], rectangles[0]["height"]) == (
        *("0.0", "0.0"),
        *("32.0", "32.0"),
    )
    assert rectangles[0]["fill"] != rectangles[2]["fill"] and (rectangles[2]["x"], rectangles[4]["y"]) == (
        "64.0",
        "32.0",
    )


def test_large_photos_are_shown_smaller(toolbox):
    photo = np.full((40, 3200, 3), 100, np.uint8)
    restored = restore(photo, "fixed:noise-1", toolbox, record=True)
    images = Page(report_page("wide", photo, restored, toolbox, 1.0)).all("img")
    assert image_of(images[0]["src"]).shape == (20, 1600, 3)


def test_values(photo, toolbox):
    restored = restore(photo, ByColour(), toolbox, record=True)
    values = report_values("photo", restored, toolbox, 1.23456)
    assert json.loads(json.dumps(values)) == values
    assert values["seconds"] == 1.235 and values["expected_gain"] is None and values["steps"] == restored.steps
    assert values["choices"][0][1] == ["noise-1", "noise-1", "stop", "stop"]


def test_a_result_without_images_is_refused(photo, toolbox):
    with pytest.raises(ValueError, match="record=True"):
        report_page("photo", photo, restore(photo, "stop", toolbox), toolbox, 1.0)


@pytest.mark.parametrize(
    ("removes", "interval", "words"),
    [
        ("jpeg", (100, 60), "removed slight JPEG artefacts"),
        ("jpeg", (20, 10), "removed strong JPEG artefacts"),
        ("blur", (1.25, 2.5), "removed moderate blur"),
        ("blur", (3.75, 5), "removed strong blur"),
        ("noise", None, "removed noise"),
        ("moderate+severe", None, "removed moderate or severe blur, noise and JPEG artefacts"),
        ("light", None, "removed light blur, noise and JPEG artefacts"),
        ("everyday", None, "removed everyday damage"),
        ("", None, "applied it"),
    ],
)
def test_words(removes, interval, words):
    assert tool_in_words(Tool("it", lambda images: images, removes, interval)) == words


def test_tools_that_do_the_same_count_together_and_little_is_not_told():
    made = [Tool(f"noise-{n}", lambda images: images, "noise", (20 + n, 22 + n)) for n in range(2)]
    toolbox = Toolbox([*made, Tool("sepia", lambda images: images)])
    choices = np.array([[0] * 8 + [1] * 11 + [2]])
    assert step_in_words(choices, toolbox) == [
        "removed moderate noise in 95% of the picture",
        "applied sepia in 5% of the picture",
    ]
    assert step_in_words(choices, toolbox, 0.1) == ["removed moderate noise in 95% of the picture"]
    assert step_in_words(np.array([[3]]), toolbox) == []


def test_a_photo_that_is_left_alone(photo, toolbox):
    assert (
        summary(restore(photo, "stop", toolbox), toolbox) == "Nothing was changed: nothing was expected to be gained."
    )


def test_a_known_reference_is_compared_with_each_step(photo, toolbox):
    restored = restore(photo, ByColour(), toolbox, record=True)
    reference = restored.image + np.uint8(5) * (np.arange(128) % 2)[None, :, None].astype(np.uint8)
    likeness = likeness_of([photo, *restored.images], reference)
    pairs = [(images_to_tensor([each]), images_to_tensor([reference])) for each in (photo, *restored.images)]
    expected = [(float(psnr(*pair)), float(ssim(*pair))) for pair in pairs]
    assert likeness == [(pytest.approx(one), pytest.approx(other, abs=1e-6)) for one, other in expected]
    page = Page(report_page("p", photo, restored, toolbox, 1.0, likeness))
    assert f"PSNR {expected[0][0]:.2f} dB" in page.text and f"{likeness[-1]} after" in page.text
    values = report_values("p", restored, toolbox, 1.0, likeness)
    assert values["likeness"][1]["psnr"] == pytest.approx(expected[1][0])


def test_a_tall_reference_is_compared_strip_by_strip():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 600, 20, 3), dtype=np.uint8)
    found = likeness_of([one], other)[0]
    pair = images_to_tensor([one]), images_to_tensor([other])
    assert found == (pytest.approx(float(psnr(*pair))), pytest.approx(float(ssim(*pair)), abs=1e-5))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((64, 127, 3), "the reference has 127x64 pixels, and the photo 128x64"), ((8, 9, 3), "SSIM needs 11x11")],
)
def test_a_reference_that_does_not_fit_is_refused(shape, message):
    photo = np.zeros((64, 128, 3) if shape[0] == 64 else shape, np.uint8)
    with pytest.raises(ValueError, match=message):
        likeness_of([photo], np.zeros(shape, np.uint8))


def test_without_a_reference_nothing_is_compared(photo, toolbox):
    restored = restore(photo, ByColour(), toolbox, record=True)
    assert "PSNR" not in report_page("p", photo, restored, toolbox, 1.0)
    assert "likeness" not in report_values("p", restored, toolbox, 1.0)

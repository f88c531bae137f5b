"""The page that shows what each tool would do to a photo."""

import re

import numpy as np
import pytest

from restore_env import Tool, Toolbox, load_policy, load_toolbox
from restore_env.cli.compare import chosen_toolchain, compare_page, middle_of, result_of, variations
from restore_env.restoration.niqe import niqe
from restore_env.utils.tensors import images_to_tensor


@pytest.fixture
def toolbox():
    changes = {"noise-1": 0.1, "noise-2": 0.2, "noise-3": 0.3, "blur-1": -0.1}
    return Toolbox(
        [Tool(name, lambda images, by=by: images + by, name[:-2], (0, 1)) for name, by in changes.items()], "some"
    )


def test_each_tool_and_filter_is_shown_once(photos, toolbox):
    shares = []
    page = compare_page("a <photo>", photos[0], load_policy("fixed:noise-2", toolbox), toolbox, shares.append)
    titles = re.findall(r"<figcaption><b>(.*?)</b>", page)
    filters = load_toolbox("classical").names
    assert titles[0] == "as it is" and titles[-len(filters) :] == list(filters)
    assert titles[-len(filters) - 4 : -len(filters)] == list(toolbox.names)
    assert "a &lt;photo&gt;" in page and shares[-1] == 1 and page.count("(lowest)") >= 1
    assert len(re.findall(r'src="data:image/webp', page)) == len(titles) and "http" not in page


def test_the_classical_toolbox_is_shown_once(photos):
    toolbox = load_toolbox("classical")
    page = compare_page("photo", photos[0], load_policy("stop", toolbox), toolbox, lambda share: None)
    assert page.count("<b>median-3</b>") == 1


def test_variations(toolbox):
    found = list(variations(("noise-2", "blur-1"), toolbox))
    assert found == [("blur-1", "noise-2"), ("noise-2",), ("noise-1", "blur-1"), ("noise-3", "blur-1")]
    assert list(variations((), toolbox)) == []
    assert list(variations(("blur-1",), toolbox)) == []
    assert list(variations(("blur-1", "blur-1"), toolbox)) == [("blur-1",)]


def test_the_other_levels_of_a_mixture_are_its_weaker_and_stronger_neighbours():
    found = list(variations(("moderate", "refine-1"), load_toolbox()))
    assert found == [("refine-1", "moderate"), ("moderate",), ("mild", "refine-1"), ("severe", "refine-1")]


def test_a_result_is_that_of_the_toolchain(photos, toolbox):
    part = np.full((100, 100, 3), 50, np.uint8)
    result = result_of(part, ("noise-1", "noise-2"), toolbox)
    assert result.title == "noise-1, noise-2" and np.abs(result.image.astype(int) - 126.5).max() < 1
    assert result.niqe == pytest.approx(niqe(images_to_tensor([result.image])).item())
    assert result_of(part[:50], (), toolbox)[::2] == ("as it is", None)


def test_the_middle_is_shown():
    photo = np.zeros((600, 1000, 3), np.uint8)
    photo[44:556, 244:756] = 9
    assert middle_of(photo).shape == (512, 512, 3) and (middle_of(photo) == 9).all()
    assert middle_of(photo[:100]).shape == (100, 512, 3)


def test_the_chosen_toolchain_ends_before_stop(photos, toolbox):
    assert chosen_toolchain(photos[0], load_policy("fixed:noise-1,blur-1", toolbox), toolbox) == ("noise-1", "blur-1")
    assert chosen_toolchain(photos[0], load_policy("stop", toolbox), toolbox) == ()

"""The oracle's results, found once and kept."""

import json

import cv2
import pytest
import torch

from restore_env import FormatError, Tool, Toolbox
from restore_env.data.sources import as_source, draw_pairs
from restore_env.training import oracle_cache as oracle
from restore_env.training.oracle_cache import oracle_of


@pytest.fixture
def pairs(photo_folder):
    return draw_pairs(as_source(str(photo_folder), "moderate", 63), 2, 0)


def test_it_is_found_once_and_again_when_a_tool_has_changed(pairs, network_toolbox, tmp_path, monkeypatch):
    first = oracle_of(pairs, network_toolbox, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(oracle, "evaluate", None)
        assert oracle_of(pairs, network_toolbox, tmp_path) == first
    with torch.no_grad():
        next(network_toolbox[0].module.parameters()).add_(0.1)
    oracle_of(pairs, network_toolbox, tmp_path)
    assert len(list(tmp_path.glob("oracle-*.json"))) == 2


def test_damaged_results_are_refused(pairs, network_toolbox, tmp_path):
    oracle_of(pairs, network_toolbox, tmp_path, max_steps=1)
    (path,) = tmp_path.glob("oracle-*.json")
    content = path.read_text()
    for damaged in (content.replace('"n": 2', '"n": 3'), content[:-9], "[]", '{"images": 3}'):
        path.write_text(damaged)
        with pytest.raises(FormatError, match=r"oracle-\w+\.json: damaged; delete it, and it is computed again"):
            oracle_of(pairs, network_toolbox, tmp_path, max_steps=1)


def test_results_of_version_0_1_have_no_checksum(pairs, network_toolbox, tmp_path):
    first = oracle_of(pairs, network_toolbox, tmp_path, max_steps=1)
    (path,) = tmp_path.glob("oracle-*.json")
    path.write_text(json.dumps(first.to_json()))
    assert oracle_of(pairs, network_toolbox, tmp_path, max_steps=1) == first


def test_functions_may_have_changed_and_nothing_is_kept(pairs, tmp_path):
    def best_with(side):
        toolbox = Toolbox([Tool.from_function("median", lambda image: cv2.medianBlur(image, side))])
        return oracle_of(pairs, toolbox, tmp_path, max_steps=1)

    assert best_with(3).images != best_with(5).images
    assert not list(tmp_path.glob("oracle-*"))

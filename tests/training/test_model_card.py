"""Records of trainings, and the cards that tell a reader the same."""

import json

import pytest

from restore_env.errors import FormatError
from restore_env.training.model_card import made_with, read_record, write_model_card

RECORD = {"psnr": 27.1, "settings": {"seed": 0}}


def test_a_record_comes_back_as_it_was(tmp_path):
    write_model_card(tmp_path, RECORD, ["# mine", "Two tools."])
    assert read_record(tmp_path) == RECORD
    assert json.loads((tmp_path / "training.json").read_text())["format"] == 1
    assert (tmp_path / "README.md").read_text() == "# mine\n\nTwo tools.\n"


def test_no_file_is_no_record(tmp_path):
    assert read_record(tmp_path) == {}


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(FormatError, match=r"training\.json: cannot be read as JSON"):
        read_record(tmp_path)


def test_versions_and_hardware_are_told():
    found = made_with("cpu")
    assert "CPU" in found["hardware"]
    assert {"python", "torch", "restore-env"} <= found["versions"].keys()

"""Records of trainings, and the cards that tell a reader the same."""

import json

import pytest

from restore_env import save_policy
from restore_env.errors import FormatError
from restore_env.policies import FixedToolchain
from restore_env.training.model_card import made_with, read_record, write_metadata, write_model_card
from restore_env.utils.serialization import PRETRAINED

RECORD = {"psnr": 27.1, "settings": {"seed": 0}}


def test_a_record_comes_back_as_it_was(tmp_path):
    write_model_card(tmp_path, RECORD, ["# mine", "Two tools."])
    assert read_record(tmp_path) == RECORD
    assert json.loads((tmp_path / "training.json").read_text())["format"] == 1
    assert text_below(tmp_path) == "# mine\n\nTwo tools.\n"


def metadata(folder):
    """The lines that a card begins with, read as JSON, which is YAML too."""
    first, *lines = (folder / "README.md").read_text().splitlines()
    assert first == "---"
    pairs = [line.split(": ", 1) for line in lines[: lines.index("---")]]
    return {key: json.loads(value) for key, value in pairs}


def text_below(folder):
    return (folder / "README.md").read_text().split("\n---\n\n", 1)[1]


def test_metadata_name_what_is_known(tmp_path):
    write_model_card(tmp_path, {}, ["# mine"])
    known = metadata(tmp_path)
    assert known["license"] == "unknown" and known["library_name"] == "restore-env"
    assert known["pipeline_tag"] == "image-to-image" and "gymnasium" in known["tags"]
    assert not {"datasets", "metrics"} & known.keys()


@pytest.mark.parametrize(
    "record", [{"gain": 4.7}, {"agents": [{"training": {"gain": 1.0}}]}, {"joint": [{"psnr_after": 28}]}]
)
def test_measured_results_name_their_metric(tmp_path, record):
    write_model_card(tmp_path, record, ["# mine"])
    assert metadata(tmp_path)["metrics"] == ["psnr"]


def test_a_policy_is_not_a_toolbox(tmp_path):
    save_policy(FixedToolchain([], ("stop",), "mine"), tmp_path, "networks")
    write_model_card(tmp_path, {}, ["# mine"])
    assert metadata(tmp_path)["pipeline_tag"] == "reinforcement-learning"


@pytest.mark.parametrize(
    "card", ["# mine\n\n---\n\nBelow a line.\n", "---\nlanguage: en\n---\n\n# mine\n\n---\n\nBelow a line.\n"]
)
def test_metadata_are_replaced_and_the_text_stays(tmp_path, card):
    (tmp_path / "README.md").write_text(card)
    for _ in range(2):
        write_metadata(tmp_path, "cc-by-4.0", ['a "b" 5'])
    assert metadata(tmp_path)["license"] == "cc-by-4.0" and metadata(tmp_path)["datasets"] == ['a "b" 5']
    assert text_below(tmp_path) == "# mine\n\n---\n\nBelow a line.\n"


@pytest.mark.parametrize("name", ["toolbox.json", "policy.json"])
def test_shipped_cards_name_their_licence(name):
    for path in PRETRAINED.rglob(name):
        assert metadata(path.parent)["license"] == "mit" and metadata(path.parent)["datasets"]


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


@pytest.mark.parametrize("lines", ["license: mit\n", "license: other\nlicense_name: mine\nlicense_link: https://a.b\n"])
def test_a_card_that_is_written_again_keeps_its_licence(tmp_path, lines):
    (tmp_path / "README.md").write_text(f"---\ndatasets: [old]\n{lines}tags: [old]\n---\n\n# old\n\nlicense: no\n")
    for _ in range(2):
        write_model_card(tmp_path, {}, ["# mine"])
        written = (tmp_path / "README.md").read_text()
        assert written.startswith(f"---\n{lines}library_name: ") and written.count("license") == lines.count("license")
        assert "old" not in written and text_below(tmp_path) == "# mine\n"

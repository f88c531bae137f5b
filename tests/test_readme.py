"""Runs every snippet of the documents that a user would copy."""

import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tyro
from conftest import smooth_photo

from restore_env import Pairs, save_pairs, save_toolbox
from restore_env.cli import main
from restore_env.data.image_io import write_image
from restore_env.training.model_card import write_model_card
from tools.specs import load_spec

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list:
    found = []
    for document in DOCUMENTS:
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)):
            found.append(pytest.param(block, id=f"{document.name}-{number}"))
    return found


def commands() -> list:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.values[0].splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def folder(tmp_path, monkeypatch, network_toolbox) -> Path:
    """A working folder with what the snippets take for granted."""
    monkeypatch.chdir(tmp_path)
    write_image("photo.jpg", smooth_photo(0))
    Path("photos").mkdir()
    write_image("photos/photo.jpg", smooth_photo(0))
    reference = np.stack([smooth_photo(1, 63, 63)])
    noise = np.random.default_rng(0).normal(0, 20, reference.shape)
    save_pairs("pairs.npz", Pairs(np.clip(reference + noise, 0, 255).astype(np.uint8), reference))
    save_toolbox(network_toolbox, "my-toolbox")
    write_model_card(Path("my-toolbox"), {}, ["# my-toolbox"])
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(folder, code):
    namespace: dict = {}
    exec(compile(code, "snippet", "exec"), namespace)
    assert namespace


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own, when it sends
@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("restore-env")])
def test_command_lines_run(folder, monkeypatch, line, request):
    if line.startswith(("restore-env pull", "restore-env push")):
        hub = request.getfixturevalue("hub")
        hub.add("someone/my-toolbox", {path.name: path.read_bytes() for path in Path("my-toolbox").iterdir()}, "v1")
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("python -m")])
def test_programs_take_the_options_shown(line):
    _, _, module, *options = shlex.split(line)
    program = import_module(module)
    parse = getattr(program, "parse", lambda words: tyro.cli(program.Args, args=words))  # some have presets
    assert parse(options)


@pytest.mark.parametrize("description", blocks("json"))
def test_descriptions_of_toolboxes_are_read(folder, monkeypatch, description):
    monkeypatch.syspath_prepend(folder)
    (folder / "my_distortions.py").write_text(
        "from restore_env.data.distortions import GaussianBlur\n\n\nclass Rain(GaussianBlur):\n    pass\n"
    )
    (folder / "my-tools.json").write_text(description)
    assert load_spec(folder / "my-tools.json", trust=True).name == "my-tools"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in commands() if line.startswith("make ")]
    assert {"demo", "test"} <= set(targets)
    assert all(f"\n{target}:" in makefile for target in targets)


def test_every_command_line_is_tested():
    assert all(line.startswith(("restore-env", "python -m", "make ")) for line in commands())


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"

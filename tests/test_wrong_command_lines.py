"""No program answers a wrong command line with a traceback, and none starts to work on one."""

import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import restore_env
from restore_env import Pairs, Tool, Toolbox, save_pairs, save_policy, save_toolbox
from restore_env.cli.main import main as command_line
from restore_env.data.image_io import write_image
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.policies import RecurrentQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN
from restore_env.training.program import run_program

HUGE = "1" + 30 * "0"
LONG = 300 * "x"

WRONG = {
    "whole": ("0", "-1", "1.5", "nan", "inf", "many", "", HUGE),
    "natural": ("-1", "1.5", "nan", "many", "", HUGE),
    "steps": ("0", "-1", "1.5", "many", "99999999", HUGE),
    "patch": ("0", "10", "1025", "1.5", "many", "", "99999999", HUGE),
    "positive": ("0", "-1", "nan", "inf", "-inf", "1e40", "1e400", "much", ""),
    "limit": ("0", "-1", "nan", "much", ""),
    "number": ("-1", "nan", "inf", "1e40", "much", ""),
    "fraction": ("-0.1", "1.1", "nan", "inf", "1e40", "half", ""),
    "choice": ("unknown", "", "0"),
    "device": ("gpu", "cuda:99", "meta", ""),
    "photos": ("{missing}", "{text}", "{empty}", "{loop}", "{loop}/photos", "{long}", "", "{text}/photos"),
    "file": ("{missing}", "{photos}", "{text}", "{loop}", "{unreadable}", "{long}", ""),
    "toolbox": ("unknown", "{photos}", "{text}", "{loop}", "{damaged}", "{long}", ""),
    "policy": ("unknown", "{photos}", "{text}", "{loop}", "{damaged}", "{long}", "", "fixed:unknown", "{zip}"),
    "revision": ("", " ", "two\nlines"),
    "text": ("",),
    "log": ("{missing}", "{photos}", "{text}", "{loop}", "{damaged}", "{long}", ""),
    "output file": ("{photos}", "{text}/out{suffix}", "{loop}", "{sealed}/out{suffix}", "{long}{suffix}", ""),
    "output folder": ("{text}", "{text}/out", "{loop}", "{sealed}/out", "{long}", "", "{material}"),
    "data set": ("mine", "../mine-v0", "{text}", "{loop}", "{long}", ""),
    "work": ("{text}", "{text}/out", "{loop}", "{sealed}/out", "{long}", ""),
}
"""Values that an option of a kind refuses."""


@dataclass(frozen=True)
class Program:
    """A right command line, and the kinds of the options; `{name}` stands for a file or folder of the material."""

    right: dict[str, str]
    kinds: dict[str, str]
    first: tuple[str, ...] = ()
    suffix: str = ""
    """Ending of the output."""
    own_input: str = ""
    """Input that the output is set to."""


DATA = {"--photos": "{photos}", "--output": "{out}"}
AGENT = {
    "--photos": "photos",
    "--validation": "photos",
    "--toolbox": "toolbox",
    "--severity": "choice",
    "--patch-size": "patch",
    "--max-steps": "steps",
    "--patches": "whole",
    "--oracle": "natural",
    "--device": "device",
    "--seed": "natural",
    "--checkpoints": "work",
}
TOOLS = {
    "--recipe": "choice",
    "--minutes": "positive",
    "--iterations": "whole",
    "--batch-size": "whole",
    "--crop": "whole",
    "--learning-rate": "positive",
    "--lr-schedule": "choice",
    "--ema-decay": "fraction",
    "--precision": "choice",
    "--device": "device",
    "--seed": "natural",
    "--checkpoints": "work",
    "--weights": "choice",
    "--output": "output folder",
}
MEASURE = {"--photos": "photos", "--seed": "natural", "--output": "output file"}

PROGRAMS = {
    "restore-env demo": Program({"--output": "{out}.png"}, {"--severity": "choice", "--seed": "natural"}, ("demo",)),
    "restore-env restore": Program(
        {"--toolbox": "{toolbox}", "--policy": "stop", "--output": "{out}.png"},
        {"--policy": "policy", "--toolbox": "toolbox", "--max-steps": "steps", "--device": "device"}
        | {"--steps": "output file", "--output": "output file"},
        ("restore", "{photo}"),
        ".png",
        "{photo}",
    ),
    "restore-env evaluate": Program(
        {"--toolbox": "{toolbox}", "--policy": "stop", "--json": "{out}.json"},
        {"--policy": "policy", "--toolbox": "toolbox", "--max-steps": "steps", "--device": "device"}
        | {"--json": "output file", "--oracle": "whole"},
        ("evaluate", "{pairs}"),
        ".json",
        "{pairs}",
    ),
    "restore-env distort": Program(
        {"--output": "{out}.png"},
        {"--severity": "choice", "--seed": "natural", "--output": "output file"},
        ("distort", "{photo}"),
        ".png",
        "{photo}",
    ),
    "restore-env toolbox": Program({}, {}, ("toolbox", "{toolbox}")),
    "restore-env pull": Program(
        {"--output": "{out}"}, {"--output": "output folder", "--revision": "revision"}, ("pull", "someone/agent")
    ),
    "restore-env push": Program({}, {}, ("push", "{policy}", "someone/agent")),
    "tools.card_metadata": Program(
        {"--folders": "{policy}", "--licence": "mit"}, {"--folders": "log", "--licence": "text", "--datasets": "text"}
    ),
    "tools.train_toolbox": Program(
        DATA | {"--toolbox": "{description}", "--pool": "2", "--crop": "24", "--iterations": "1"},
        TOOLS
        | {"--photos": "photos", "--validation": "photos", "--toolbox": "file", "--tools": "choice"}
        | {"--start": "toolbox", "--jobs": "whole", "--pool": "whole"},
        own_input="{photos}",
    ),
    "tools.finetune_joint": Program(
        {"--logs": "{log}", "--output": "{out}", "--toolbox": "{toolbox}"},
        TOOLS
        | {"--logs": "log", "--validation": "log", "--toolbox": "toolbox", "--own-task": "fraction"}
        | {"--optimizer": "choice", "--loss": "choice", "--pool": "whole"},
        own_input="{toolbox}",
    ),
    "tools.make_pairs": Program(
        DATA | {"--output": "{out}.npz"},
        {"--photos": "photos", "--n": "whole", "--severity": "choice", "--patch-size": "whole", "--seed": "natural"}
        | {"--jobs": "whole", "--output": "output file"},
        suffix=".npz",
    ),
    "tools.import_rl_restore": Program(
        {"--toolbox": "{photos}", "--agent": "{photos}", "--output": "{out}"},
        {"--toolbox": "photos", "--agent": "photos", "--output": "output folder"},
        own_input="{photos}",
    ),
    "agents.train_drqn": Program(
        DATA | {"--toolbox": "{toolbox}", "--patches": "2"},
        AGENT
        | {"--start": "policy", "--minutes": "positive", "--iterations": "whole", "--features": "whole"}
        | {"--hidden": "whole", "--reward": "choice", "--cost": "number", "--dtype": "choice", "--gamma": "fraction"}
        | {"--loss": "choice", "--batch-size": "whole", "--buffer-size": "whole", "--learning-starts": "natural"}
        | {"--n-envs": "whole", "--gradient-steps": "whole", "--exploration-fraction": "fraction"}
        | {"--optimizer": "choice", "--learning-rate": "positive", "--final-learning-rate": "positive"}
        | {"--max-grad-norm": "limit", "--ema-decay": "fraction", "--random-shift-pad": "natural"}
        | {"--output": "output folder"},
        ("fast",),
        own_input="{photos}",
    ),
    "agents.train_sb3": Program(
        DATA | {"--output": "{out}.zip", "--toolbox": "{toolbox}", "--patches": "2"},
        AGENT
        | {
            "--algo": "choice",
            "--observation": "choice",
            "--single-distortion-fraction": "fraction",
            "--steps": "whole",
            "--n-envs": "whole",
        }
        | {"--buffer-size": "whole", "--learning-rate": "positive", "--every": "whole", "--output": "output file"},
        suffix=".zip",
    ),
    "agents.joint_rounds": Program(
        DATA | {"--validation": "{photos}", "--policy": "{policy}", "--toolbox": "{toolbox}", "--patches": "2"},
        {"--photos": "photos", "--validation": "photos", "--policy": "policy", "--toolbox": "toolbox"}
        | {"--rounds": "whole", "--severity": "choice", "--toolchains": "whole", "--tool-minutes": "positive"}
        | {"--agent-minutes": "positive", "--own-task": "fraction", "--patches": "whole", "--device": "device"}
        | {"--seed": "natural", "--checkpoints": "work", "--output": "output folder", "--learning-rate": "positive"},
        own_input="{policy}",
    ),
    "agents.log_toolchains": Program(
        {"--images": "{photos}", "--output": "{out}", "--policy": "stop", "--toolbox": "{toolbox}", "--n": "2"},
        {"--images": "photos", "--policy": "policy", "--toolbox": "toolbox", "--severity": "choice", "--n": "whole"}
        | {"--max-steps": "steps", "--device": "device", "--seed": "natural", "--output": "output folder"}
        | {"--patch-size": "patch"},
        own_input="{toolbox}",
    ),
    "agents.export_minari": Program(
        {"--output": "restore-env/mine-v0", "--toolbox": "{toolbox}"},
        {"--output": "data set", "--toolbox": "toolbox", "--device": "device"},
        ("{log}",),
        own_input="{log}",
    ),
    "agents.make_ensemble": Program(
        {"--agents": "{policy}", "--output": "{out}"},
        {"--agents": "log", "--stop-margin": "number", "--output": "output folder"},
        own_input="{policy}",
    ),
    "agents.search_toolchain": Program(
        DATA | {"--toolbox": "{toolbox}", "--patches": "2"},
        {"--photos": "photos", "--toolbox": "toolbox", "--severity": "choice", "--patches": "whole"}
        | {"--max-steps": "steps", "--beam": "natural", "--seed": "natural", "--output": "output folder"}
        | {"--patch-size": "patch"},
        own_input="{toolbox}",
    ),
    "benchmarks.joint": Program(
        DATA | {"--output": "{out}.json", "--stages": "stop@{toolbox}"},
        MEASURE | {"--n": "whole", "--stages": "policy", "--rival": "policy"},
        suffix=".json",
    ),
    "benchmarks.learning": Program(
        DATA | {"--output": "{out}.json", "--toolbox": "{toolbox}"},
        {"--photos": "photos", "--validation": "photos", "--variants": "choice", "--minutes": "positive"}
        | {"--rival": "policy", "--toolbox": "toolbox", "--severity": "choice", "--patches": "whole"}
        | {"--seeds": "natural", "--checkpoints": "work", "--output": "output file"},
        suffix=".json",
    ),
    "benchmarks.new_tool": Program(
        DATA | {"--output": "{out}.json", "--toolbox": "{toolbox}", "--start": "{policy}"},
        {"--photos": "photos", "--validation": "photos", "--start": "policy", "--toolbox": "toolbox"}
        | {"--minutes": "positive", "--patches": "whole", "--seed": "natural", "--checkpoints": "work"}
        | {"--output": "output file"},
        suffix=".json",
    ),
    "benchmarks.policies": Program(
        DATA | {"--train-photos": "{photos}", "--output": "{out}.json", "--toolbox": "{toolbox}"},
        MEASURE
        | {"--train-photos": "photos", "--toolbox": "toolbox", "--policies": "policy", "--plot": "choice"}
        | {"--rivals": "choice", "--n-oracle": "whole", "--n-search": "whole", "--beam": "whole", "--n": "whole"}
        | {"--checkpoints": "work"},
        suffix=".json",
    ),
    "benchmarks.robustness": Program(
        DATA | {"--output": "{out}.json", "--toolbox": "{toolbox}", "--policy": "stop"},
        MEASURE | {"--policy": "policy", "--toolbox": "toolbox"},
        suffix=".json",
    ),
    "benchmarks.throughput": Program(
        {"--output": "{out}.json", "--toolbox": "{toolbox}"},
        {"--toolbox": "toolbox", "--seconds": "positive", "--rounds": "whole", "--sizes": "whole"}
        | {"--cuda-sizes": "whole", "--pairs": "whole", "--seed": "natural", "--output": "output file"},
        suffix=".json",
    ),
    "benchmarks.toolbox": Program(
        DATA | {"--output": "{out}.json", "--toolbox": "{toolbox}"},
        MEASURE | {"--toolbox": "toolbox", "--beside": "toolbox", "--n-map": "whole", "--n": "whole"},
        suffix=".json",
    ),
    "benchmarks.training_speed": Program(
        {"--output": "{out}.json"},
        {"--batch-sizes": "whole", "--updates": "whole", "--seed": "natural", "--output": "output file"},
        suffix=".json",
    ),
}

MEANT = {
    *("--validation", "--start", "--rival", "--beside", "--plot"),  # an empty text is as good as none
}
"""Options that may be empty."""


DRAWING = (
    "tools.make_pairs",
    "agents.train_drqn",
    "agents.train_sb3",
    "agents.joint_rounds",
    "agents.search_toolchain",
)
"""Programs that read all of the photos before they work."""


def wrong_lines() -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield each wrong command line, which is a right one with one thing changed, and whether it is tried each time.

    Each option refuses all values of its kind. `make test` tries two of them, others for each option.
    """
    turns = dict.fromkeys(WRONG, 0)
    for name, program in PROGRAMS.items():
        right = [word for option in program.right.items() for word in option]
        yield name, (*program.first, *right, "--no-such-option"), True
        for option in program.right:
            yield name, (*program.first, *(word for word in right if word != program.right[option])), True
        for option, kind in program.kinds.items():
            values = [value for value in WRONG[kind] if value or option not in MEANT]
            for place, value in enumerate(values):
                chosen = (place - turns[kind]) % len(values) < 2
                yield name, (*program.first, *right, option, value.replace("{suffix}", program.suffix)), chosen
            turns[kind] += 2
        if program.own_input:
            yield name, (*program.first, *right, "--output", program.own_input), True
        if name in DRAWING:
            yield name, (*program.first, *("{broken}" if word == "{photos}" else word for word in right)), True
    for words in ((), ("improve",), ("restore",), ("restore", "{missing}"), ("restore", "{empty}"), ("restore", ""),
                  ("evaluate",), ("evaluate", "{missing}"), ("evaluate", "{text}"), ("evaluate", "{photos}"),
                  ("evaluate", "{loop}"), ("evaluate", ""), ("distort", "{text}"), ("distort", "{loop}"),
                  ("toolbox", "unknown"), ("toolbox", "{photos}"), ("toolbox", "{loop}"), ("toolbox", ""),
                  ("pull",), ("pull", ""), ("pull", "agent"), ("pull", "a/b/c"), ("pull", "../agent"),
                  ("pull", "some one/agent"), ("pull", "someone/{long}"), ("push",), ("push", "{policy}"),
                  ("push", "{policy}", ""), ("push", "{policy}", "agent"),
                  *(("push", folder, "a/b") for folder in WRONG["log"])):  # fmt: skip
        yield "restore-env", words, True


LINES = [(name, line) for name, line, _ in wrong_lines()]


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> dict[str, str]:
    """Small files and folders of each kind, right and wrong ones, by the names in the command lines."""
    root = tmp_path_factory.mktemp("material")
    for name in ("photos", "empty", "broken", "damaged", "made"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 70, 80, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        write_image(root / "photos" / f"{number}.png", image)
    (root / "broken" / "photo.png").write_bytes((root / "photos" / "0.png").read_bytes()[:1000])
    save_pairs(root / "pairs.npz", Pairs(images[:, :63, :63], images[:, :63, :63]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tools = [
            Tool.from_module("three", ThreeLayerCNN(4, 3), removes="noise", interval=(0.0, 20.0)),
            Tool.from_module("eight", EightLayerCNN(6, 4), removes="blur", interval=(0.0, 2.0)),
        ]
        toolbox = Toolbox(tools, "networks")
        save_toolbox(toolbox, root / "toolbox")
        policy = RecurrentQPolicy(RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8), toolbox.action_names)
        save_policy(policy, root / "policy", toolbox)
    (root / "policy" / "README.md").write_text("# policy")
    patches = images[:, :63, :63]
    with ToolchainLogWriter(root / "log", LogHeader("stop", "networks", toolbox.action_names, 63, 3)) as log:
        log.add(Toolchains(patches, patches, np.array([[0, -1, -1]] * 3)))
    for name in ("toolbox.json", "policy.json", "toolchains.json", "tools.safetensors", "policy.safetensors"):
        (root / "damaged" / name).write_text('{"format": 1, "name"')
    (root / "notes.txt").write_text("no photo")
    (root / "agent.zip").write_bytes(b"PK not really")
    (root / "loop").symlink_to(root / "loop")
    unreadable = root / "unreadable"
    unreadable.touch(mode=0)
    return {
        "material": str(root),
        "photo": str(root / "photos" / "0.png"),
        "pairs": str(root / "pairs.npz"),
        "description": str(root / "toolbox" / "toolbox.json"),
        "text": str(root / "notes.txt"),
        "zip": str(root / "agent.zip"),
        "unreadable": str(unreadable),
        "sealed": "/proc" if Path("/proc/self").exists() else str(root / "notes.txt"),
        "long": LONG,
        "out": str(root / "made" / "out"),
        **{name: str(root / name) for name in ("photos", "empty", "broken", "damaged", "toolbox", "policy", "log")},
        **{name: str(root / name) for name in ("missing", "loop")},
    }


class Accepted(BaseException):
    """A wrong command line was accepted."""


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch, tmp_path, tmp_path_factory):
    """Raise `Accepted` where a program would start to work."""

    def accept(*_: object, **__: object) -> None:
        raise Accepted

    for name in PROGRAMS:
        if not name.startswith("restore-env") and name != "tools.make_pairs":
            module = importlib.import_module(name)
            monkeypatch.setattr(module, "run" if hasattr(module, "run") else "measure", accept)
    for work in (
        *(
            "restore_env.restoration.batch.RestorationBatch.start",
            "restore_env.data.distortions.SeverityDistortion.__call__",
            "restore_env.cli.hub._api",
        ),
        *("tools.train_toolbox.draw_training_data", "tools.finetune_joint.draw_pools"),
    ):
        monkeypatch.setattr(work, accept)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command line replaces it
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
    monkeypatch.chdir(tmp_path)


def run(name: str, words: list[str], monkeypatch) -> object:
    """Run a program in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as ended:
        if name.startswith("restore-env"):
            command_line()
        module = importlib.import_module(name)
        run_program(module.main, getattr(module, "parse", module.Args))
    return ended.value.code


@pytest.mark.filterwarnings("ignore:skipped")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param(name, line, id=f"{name} {' '.join(line)[-40:]}", marks=() if chosen else pytest.mark.slow)
        for name, line, chosen in wrong_lines()
    ],
)
def test_a_wrong_command_line_is_one_line(name, line, material, monkeypatch, capsys):
    words = [word.format_map(material) for word in line]
    before = digest(material["material"])
    code = run(name, words, monkeypatch)
    told = capsys.readouterr()
    message = code if isinstance(code, str) else told.err
    assert code in (1, 2) or isinstance(code, str), told
    assert "Traceback" not in told.out + told.err + message
    assert len(message.strip().splitlines()) == 1 or "For full helptext" in message, message
    assert digest(material["material"]) == before
    assert not os.listdir()


def digest(folder: str) -> str:
    """Return the digest of all files in a folder, and of their names."""
    found = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        found.update(str(path).encode())
        if path.is_file() and path.name != "unreadable":
            found.update(path.read_bytes())
    return found.hexdigest()


def test_there_are_many_and_the_right_ones_are_right(material, monkeypatch):
    assert len(LINES) >= 300 and restore_env.__version__
    for name, program in PROGRAMS.items():
        if name not in ("tools.import_rl_restore", "restore-env toolbox", "agents.make_ensemble"):
            words = [*program.first, *(word for option in program.right.items() for word in option)]
            with pytest.raises(Accepted):
                run(name, [word.format_map(material) for word in words], monkeypatch)

"""Whatever the bytes of a file, it is either read or refused in one line by the documented error."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from agents.drqn.replay_buffer import Episodes, ReplayBuffer
from restore_env import FormatError, ImageError, Pairs, load_policy, load_toolbox, save_policy, save_toolbox
from restore_env.data.pairs import load_pairs, save_pairs
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains, load_toolchain_log
from restore_env.policies import EnsembleQPolicy, FixedToolchain, RecurrentQNetwork, RecurrentQPolicy
from restore_env.training.trainer import Budget
from restore_env.utils.checksums import LENGTH, MARK
from tools.recipes import Recipe
from tools.single.pool import PoolBatches
from tools.single.trainer import ToolTraining
from tools.specs import ToolSpec, load_spec

FAST, SLOW = 22, 300
"""Cases for each kind of file."""

FLIPS = 60
"""Flipped bits for each kind of file; 300 for the five kinds that trainings read back."""

SIZES = {"channels": (2, 2, 2, 2), "features": 3, "hidden": 3, "patch_size": 16}
ACTIONS = ("three", "eight", "stop")
SPEC = ToolSpec("noise", "noise", (0, 50), "three-layer", {"wide": 2, "narrow": 2})


def images(n: int, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Kind:
    """How files of a kind are made and read, and the error that refuses them."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    error: type[Exception] = FormatError


def agent() -> RecurrentQPolicy:
    return RecurrentQPolicy(RecurrentQNetwork(2, **SIZES), ACTIONS, "agent")


def make_ensemble(folder: Path) -> None:
    save_policy(EnsembleQPolicy([agent(), agent()], stop_margin=0.5), folder, "box")


def make_log(folder: Path) -> None:
    chains = np.array([[0, 1], [1, -1], [-1, -1]])
    with ToolchainLogWriter(folder, LogHeader("agent", "box", ACTIONS, 12, 2, "made up", 7)) as log:
        log.add(Toolchains(images(3), images(3), chains))


def make_pairs(folder: Path) -> None:
    names, labels = ["a", "b", "c"], ["cat", "dog", "cat"]
    save_pairs(folder / "pairs.npz", Pairs(images(3), images(3), names, photos=[0, None, 4], labels=labels))


def make_spec(folder: Path) -> None:
    tools = [SPEC, ToolSpec("all", "mild+everyday", None, "two-scale", {"wide": 2, "deep": 2})]
    content = {"format": 1, "name": "mine", "tools": [asdict(tool) for tool in tools]}
    (folder / "tools.json").write_text(json.dumps(content))


def training(folder: Path) -> ToolTraining:
    pairs = Pairs(images(3), images(3))
    return ToolTraining(
        spec=SPEC,
        batch=PoolBatches(pairs, 1, 0).batch,
        data="",
        validation=pairs.to_tensors(),
        budget=Budget(2),
        checkpoint=folder / "tool.pt",
        recipe=Recipe(optimizer="adam", batch_size=1, crop=12),
    )


def new_buffer(folder: Path, count: int = 0) -> ReplayBuffer:
    return ReplayBuffer(folder, 5, 0, max_steps=2, side=8, actions=3, count=count)


def make_replay(folder: Path) -> None:
    buffer = new_buffer(folder)
    numbers = torch.arange(5 * 2).view(5, 2)
    tried = numbers.float().unsqueeze(2).expand(5, 2, 3)
    buffer.add(Episodes(torch.from_numpy(images(10, 8)).view(5, 2, 8, 8, 3), numbers, numbers.float(), tried))
    buffer.flush()


KINDS = {
    "pairs": Kind(make_pairs, lambda folder: load_pairs(folder / "pairs.npz"), ImageError),
    "log": Kind(make_log, lambda folder: load_toolchain_log(folder)[:]),
    "checkpoint": Kind(lambda folder: training(folder).run(lambda status: None), training),
    "replay": Kind(make_replay, lambda folder: new_buffer(folder, count=5)),
    "policy": Kind(lambda folder: save_policy(agent(), folder, "box"), load_policy),
    "ensemble": Kind(make_ensemble, load_policy),
    "toolchain": Kind(lambda folder: save_policy(FixedToolchain(["eight"], ACTIONS), folder, "box"), load_policy),
    "description": Kind(make_spec, lambda folder: load_spec(folder / "tools.json")),
}


@pytest.fixture
def toolbox(network_toolbox) -> Kind:
    return Kind(lambda folder: save_toolbox(network_toolbox, folder), load_toolbox)


@pytest.fixture(params=[*KINDS, "toolbox"])
def kind(request, toolbox) -> Kind:
    return KINDS.get(request.param, toolbox)


def unseal(name: str, content: bytes) -> bytes:
    """Remove the checksum of a file, as if version 0.1 had written it; what reads it then sees all damage."""
    if name.endswith(".json"):
        known = json.loads(content)
        return json.dumps({key: value for key, value in known.items() if key != "sha256"}).encode()
    return content[:-LENGTH] if content.endswith(MARK) else content


SWAPS = (
    *(None, True, -1, 0, 1.5, 3, 10**6, 10**30, 10**400, float("inf"), float("nan")),
    *("", "../x", "a/b", "x" * 5000, "a\x00b", "stop", "everyday+light", "os:system", "three-layer"),
    *([], {}, [1, 2], ["a", "a"], {"a": {"b": 1}}, [[[[]]]], "nested"),
)


def nested(depth: int) -> list:
    return [] if depth == 0 else [nested(depth - 1)]


def places(value: object) -> Iterator[tuple[dict | list, object]]:
    """Yield all entries of lists and dictionaries, each as its container and its key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutate_values(value: object, rng: random.Random, swaps: tuple = SWAPS) -> None:
    """Swap, remove or repeat an entry of nested lists and dictionaries."""
    container, key = rng.choice(list(places(value)))
    change = rng.random()
    if change < 0.7:
        new = rng.choice(swaps)
        container[key] = nested(200) if isinstance(new, str) and new == "nested" else new
    elif change < 0.85:
        del container[key]
    elif isinstance(container, list):
        container += container
    else:
        container[f"{key}x"] = container[key]


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, insert, delete, overwrite or cut bytes."""
    changed, place = bytearray(content), rng.randrange(len(content))
    length = rng.choice((1, 2, 8, 100))
    change = rng.randrange(5)
    if change == 0:
        for _ in range(length):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif change == 1:
        changed[place:place] = rng.randbytes(length)
    elif change == 2:
        del changed[place : place + length]
    elif change == 3:
        changed[place : place + length] = rng.choice((b"\x00", b"\xff", b"[", b"9")) * length
    else:
        del changed[place:]
    return bytes(changed)


def mutate_tensors(tensors: dict[str, torch.Tensor], rng: random.Random) -> None:
    """Change the shape, dtype or name of a tensor."""
    key = rng.choice(sorted(tensors))
    changes = (
        lambda: tensors.update({key: torch.zeros(3, dtype=torch.complex64)}),
        lambda: tensors.update({key: tensors[key].flatten()[:0]}),
        lambda: tensors.update({key: tensors[key].long()}),
        lambda: tensors.update({key: tensors[key].half() * float("nan")}),
        lambda: tensors.update({"x" * 5000: tensors.pop(key)}),
    )
    rng.choice(changes)()


def mutate(name: str, content: bytes, rng: random.Random) -> bytes:
    """Change a file: its bytes, or what it holds."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    if name.endswith(".json"):
        known = json.loads(content)
        mutate_values(known, rng)
        return json.dumps(known).encode() if rng.random() < 0.8 else b"[" * 10**5
    if name.endswith(".safetensors"):
        tensors = load(content)
        mutate_tensors(tensors, rng)
        return save(tensors)
    stream = BytesIO()
    if name.endswith(".pt"):
        state = torch.load(BytesIO(content), weights_only=True)
        mutate_values(state, rng, (*SWAPS[:-1], torch.zeros(3), torch.zeros(()), state))
        torch.save(state, stream)
    elif name.endswith(".npz"):
        arrays = dict(np.load(BytesIO(content)))
        key = rng.choice(sorted(arrays))
        others = (np.zeros(3), np.zeros((3, 0)), np.array(["a\n"] * 3), np.array([b"a"] * 3), np.array([None] * 3))
        arrays[key] = rng.choice((*others, arrays[key][:-1], arrays[key].astype(object), arrays[key][..., None]))
        np.savez(stream, **arrays)
    else:
        array = np.load(BytesIO(content))
        others = (np.zeros(3), array[:0], np.array([None]), array.reshape(-1, 1), np.array(5))
        np.save(stream, rng.choice(others))
    return stream.getvalue()


def refused(kind: Kind, folder: Path) -> bool:
    """Return whether the files are refused, in one line; if they are not, they are read."""
    try:
        kind.read(folder)
    except kind.error as error:
        message = str(error)
        assert str(folder) in message and "\n" not in message and len(message) < 2000, message
        return True
    return False


def contents(folder: Path) -> list[Path]:
    """Return the files of a folder that hold something."""
    return sorted(path for path in folder.iterdir() if path.suffix != ".lock")


def check_mutants(kind: Kind, folder: Path, seeds: range) -> None:
    """Mutate the files of a kind once for each seed; each mutant is read or refused."""
    kind.make(folder)
    for path in contents(folder):
        path.write_bytes(unseal(path.name, path.read_bytes()))
    assert not refused(kind, folder)
    whole = {path: path.read_bytes() for path in contents(folder)}
    for seed in seeds:
        rng = random.Random(seed)
        path = rng.choice(list(whole))
        path.write_bytes(mutate(path.name, whole[path], rng))
        try:
            refused(kind, folder)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {path.name}: {type(error).__name__}: {error}") from error
        for file, content in whole.items():
            file.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_a_mutated_file_is_read_or_refused_in_one_line(kind, tmp_path, one_thread):
    check_mutants(kind, tmp_path, range(FAST))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_more_mutated_files_are_read_or_refused_in_one_line(kind, tmp_path, one_thread):
    check_mutants(kind, tmp_path, range(FAST, SLOW))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"settings": None},
        {"settings": []},
        {"settings": {"seed": torch.zeros(3)}},
        {"network": None},
        {"network": {}},
        {"network": {"conv1.weight": torch.zeros(2)}},
        {"average": 3},
        {"optimizer": None},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"guard": {"scale": "x"}},
        {"iteration": "7"},
        {"iteration": -1},
        {"iteration": 1.5},
        {"seconds": None},
        {"seconds": float("nan")},
    ],
    ids=repr,
)
def test_a_torch_file_of_something_else_is_no_checkpoint(changes, tmp_path, one_thread):
    training(tmp_path).run(lambda status: None)
    state = torch.load(tmp_path / "tool.pt", weights_only=True)
    torch.save(state | changes if changes else {"weights": torch.zeros(3)}, tmp_path / "tool.pt")
    with pytest.raises(FormatError, match=r"tool\.pt: .*; delete it to start afresh"):
        training(tmp_path)


@pytest.mark.parametrize("name", ["checkpoint", "replay", "pairs", "log", "toolbox"])
def test_every_flipped_bit_in_what_a_training_reads_back_is_refused(name, toolbox, tmp_path, one_thread):
    kind, rng = KINDS.get(name, toolbox), random.Random(0)
    kind.make(tmp_path)
    # A description is for people, who may edit it: of a toolbox only the weights have a checksum.
    paths = [path for path in contents(tmp_path) if path.name != "toolbox.json"]
    for _ in range(FLIPS):
        path = rng.choice(paths)
        content = path.read_bytes()
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        assert refused(kind, tmp_path), path.name
        path.write_bytes(content)
    assert not refused(kind, tmp_path)

"""Import the tools and the agent that the authors of RL-Restore released, without TensorFlow.

    python -m tools.import_rl_restore --toolbox official/toolbox --agent official/models --output imported/

writes the toolbox folder `imported/toolbox` and the policy folder `imported/policy`.

The released networks were trained on patches with height and width swapped. Here the swap is absorbed once: every
kernel has its two spatial axes exchanged, and the rows of the agent's first dense layer are reordered. The imported
networks work on upright images.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy, save_policy
from restore_env.toolbox import Tool, Toolbox, save_toolbox
from restore_env.training.program import run_program
from tools.specs import load_spec

Shapes = dict[str, tuple[int, ...]]

SPEC: Final = load_spec("rl-restore-12")
"""The authors' tools, in their order."""

THREE_LAYERS: Final[Shapes] = {"conv1": (9, 9, 3, 32), "conv2": (5, 5, 32, 16), "conv3": (5, 5, 16, 3)}
EIGHT_LAYERS: Final[Shapes] = {
    "conv1": (5, 5, 3, 64),
    "conv1_2": (1, 1, 64, 32),
    "conv2": (3, 3, 32, 32),
    "conv2_2": (1, 1, 32, 64),
    "conv2a": (3, 3, 32, 32),
    "conv2c": (3, 3, 32, 32),
    "conv2d": (3, 3, 32, 32),
    "conv3": (5, 5, 64, 3),
}
AGENT_CONVOLUTIONS: Final[Shapes] = {
    "l1": (9, 9, 3, 32),
    "l2": (5, 5, 32, 24),
    "l3": (5, 5, 24, 24),
    "l4": (5, 5, 24, 24),
}
SIDE, CHANNELS, FEATURES, HIDDEN, ACTIONS = 4, 24, 32, 50, 13
AGENT_NAME: Final = "rl-restore-official"


@dataclass
class Args:
    """Import the tools and the agent that the authors of RL-Restore released."""

    toolbox: Path
    """Folder with tool01.data-00000-of-00001 to tool12.data-00000-of-00001."""
    agent: Path
    """Folder with model.data-00000-of-00001."""
    output: Path
    """Folder in which `toolbox` and `policy` are written."""


def main(args: Args) -> tuple[Toolbox, RecurrentQPolicy]:
    """Import, write both folders, and return what they hold."""
    toolbox = import_toolbox(args.toolbox)
    policy = import_agent(args.agent, toolbox)
    save_toolbox(toolbox, args.output / "toolbox")
    save_policy(policy, args.output / "policy", toolbox.name)
    return toolbox, policy


def import_toolbox(folder: Path) -> Toolbox:
    """Read the twelve tools of a folder of released checkpoints."""
    tools = [
        import_tool(folder / f"tool{number:02d}.data-00000-of-00001", number)
        for number in range(1, len(SPEC.tools) + 1)
    ]
    return Toolbox(tools, AGENT_NAME)


def import_tool(path: Path, number: int) -> Tool:
    """Read one tool; `number` counts from 1 as the authors do."""
    spec = SPEC.tools[number - 1]
    shapes = THREE_LAYERS if spec.architecture == "three-layer" else EIGHT_LAYERS
    tensors = read_tensors(path, _with_biases(shapes))
    network = spec.network(seed=0)
    network.load_state_dict(_convolutions(tensors, {name: name for name in shapes}))
    return spec.tool(network)


def import_agent(folder: Path, toolbox: Toolbox) -> RecurrentQPolicy:
    """Read the agent of a folder of released checkpoints."""
    shapes = {f"a/{name}": shape for name, shape in _with_biases(AGENT_CONVOLUTIONS).items()}
    # The names are shortened; what counts is that they sort as the released ones do.
    shapes |= {"b/Matrix": (SIDE * SIDE * CHANNELS, FEATURES), "b/bias": (FEATURES,)}
    shapes |= {"c/bias": (4 * HIDDEN,), "c/kernel": (FEATURES + ACTIONS - 1 + HIDDEN, 4 * HIDDEN)}
    shapes |= {"d/Matrix": (HIDDEN, ACTIONS), "d/bias": (ACTIONS,), "e/step": ()}
    tensors = read_tensors(folder / "model.data-00000-of-00001", shapes)
    names = {f"a/l{number}": f"convolutions.{number - 1}" for number in range(1, 5)}
    state = _convolutions(tensors, names)
    state |= {"describe.weight": _upright_rows(tensors["b/Matrix"]).T.contiguous(), "describe.bias": tensors["b/bias"]}
    state |= {"gates.weight": tensors["c/kernel"].T.contiguous(), "gates.bias": _with_forget_bias(tensors["c/bias"])}
    state |= {"values.weight": tensors["d/Matrix"].T.contiguous(), "values.bias": tensors["d/bias"]}
    network = RecurrentQNetwork(ACTIONS - 1)
    network.load_state_dict(state)
    return RecurrentQPolicy(network, toolbox.action_names, AGENT_NAME)


def read_tensors(path: Path, shapes: Shapes) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint's data file: little-endian float32, in the order of their sorted names.

    Raises:
        ValueError: if the file is missing or of another size than the shapes need.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    numbers: NDArray[np.float32] = np.fromfile(path, dtype="<f4").astype(np.float32)
    needed = sum(prod(shape) for shape in shapes.values())
    if len(numbers) != needed:
        raise ValueError(f"{path}: {len(numbers)} numbers; the released network has {needed}")
    tensors, start = {}, 0
    for name in sorted(shapes):
        size = prod(shapes[name])
        tensors[name] = torch.from_numpy(numbers[start : start + size].reshape(shapes[name]).copy())
        start += size
    return tensors


def _with_biases(shapes: Shapes) -> Shapes:
    weights = {f"{name}/weights": shape for name, shape in shapes.items()}
    return weights | {f"{name}/biases": shape[-1:] for name, shape in shapes.items()}


def _convolutions(tensors: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Kernels (h, w, in, out) of swapped images to PyTorch's (out, in, h, w) of upright ones; names from old to new."""
    state = {}
    for old, new in names.items():
        state[f"{new}.weight"] = tensors[f"{old}/weights"].permute(3, 2, 1, 0).contiguous()
        state[f"{new}.bias"] = tensors[f"{old}/biases"]
    return state


def _upright_rows(matrix: Tensor) -> Tensor:
    """Reorder rows that count (w, h, channel) of an upright map so that they count (h, w, channel)."""
    return matrix.view(SIDE, SIDE, CHANNELS, FEATURES).transpose(0, 1).reshape(-1, FEATURES)


def _with_forget_bias(bias: Tensor) -> Tensor:
    """TensorFlow adds 1 to the forget gate when it computes; here it is part of the bias. Gates: i, j, f, o."""
    return bias + torch.tensor([0.0, 0.0, 1.0, 0.0]).repeat_interleave(HIDDEN)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

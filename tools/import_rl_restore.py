"""Import the tools and the agent that the authors of RL-Restore released, without TensorFlow.

    python -m tools.import_rl_restore --toolbox official/toolbox --agent official/models --output imported/

writes the toolbox folder `imported/toolbox` and the policy folder `imported/policy`.

The released networks were trained on patches with height and width swapped. The import undoes the swap: it exchanges
the two spatial axes of every kernel and reorders the rows of the agent's first dense layer. So the imported networks
work on upright images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy, save_policy
from restore_env.toolbox import Tool, Toolbox, save_toolbox
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import Options
from tools.specs import load_spec

Shapes = dict[str, tuple[int, ...]]

SPEC: Final = load_spec("rl-restore-12")
"""The authors' tools, in their order."""

SIDE, CHANNELS = 4, 24
"""Height and width of the agent's last feature map in pixels, and its channels."""

AGENT_NAME: Final = "rl-restore-official"


@dataclass(kw_only=True)
class Args(Options):
    """Import the tools and the agent that the authors of RL-Restore released."""

    toolbox: Path
    """Folder with tool01.data-00000-of-00001 to tool12.data-00000-of-00001."""
    agent: Path
    """Folder with model.data-00000-of-00001."""
    output: Path
    """Folder in which `toolbox` and `policy` are written."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The imported tools and agent, and the folder in which they are written."""

    toolbox: Toolbox
    policy: RecurrentQPolicy
    output: Path


def plan(args: Args) -> Plan:
    """Read the released files.

    Raises:
        ValueError: if a file is missing, or is not one of the released ones.
    """
    check_paths({"--toolbox": args.toolbox, "--agent": args.agent}, folders={"--output": args.output})
    toolbox = import_toolbox(args.toolbox)
    return Plan(toolbox=toolbox, policy=import_agent(args.agent, toolbox), output=args.output)


def run(plan: Plan) -> tuple[Toolbox, RecurrentQPolicy]:
    """Write both folders, and return the tools and the agent."""
    save_toolbox(plan.toolbox, plan.output / "toolbox")
    save_policy(plan.policy, plan.output / "policy", plan.toolbox)
    return plan.toolbox, plan.policy


def main(args: Args) -> tuple[Toolbox, RecurrentQPolicy]:
    """Import, write both folders, and return the tools and the agent."""
    return run(plan(args))


def import_toolbox(folder: Path) -> Toolbox:
    """Read the twelve tools from a folder of released checkpoints.

    Raises:
        ValueError: if a file is missing or of another size.
    """
    tools = [
        import_tool(folder / f"tool{number:02d}.data-00000-of-00001", number)
        for number in range(1, len(SPEC.tools) + 1)
    ]
    return Toolbox(tools, AGENT_NAME)


def import_tool(path: Path, number: int) -> Tool:
    """Read one tool from its checkpoint.

    Args:
        path: the checkpoint's data file.
        number: number of the tool, which counts from 1 as the authors do.
    """
    spec = SPEC.tools[number - 1]
    network = spec.network(seed=0)
    layers = dict(network.named_children())
    _load_convolutions(layers, read_tensors(path, _shapes(layers)))
    return spec.tool(network)


def import_agent(folder: Path, toolbox: Toolbox) -> RecurrentQPolicy:
    """Read the agent from a folder of released checkpoints.

    Args:
        folder: has the agent's checkpoint.
        toolbox: the agent's tools.

    Raises:
        ValueError: if the file is missing or of another size.
    """
    network = RecurrentQNetwork(len(SPEC.tools))
    encoder = network.encoder
    # The names are shortened, but they sort as the released ones do: the file holds the tensors in that order.
    layers = {f"a/l{number}": layer for number, layer in enumerate(encoder.convolutions, start=1)}
    dense = {"b/Matrix": encoder.projection, "c/kernel": network.gates, "d/Matrix": network.values}
    biases = {f"{name[0]}/bias": layer.bias.shape for name, layer in dense.items()}
    shapes = {name: layer.weight.T.shape for name, layer in dense.items()} | biases | {"e/step": ()}
    tensors = read_tensors(folder / "model.data-00000-of-00001", _shapes(layers) | shapes)
    tensors["b/Matrix"] = _upright_rows(tensors["b/Matrix"])
    tensors["c/bias"] = _with_forget_bias(tensors["c/bias"])
    _load_convolutions(layers, tensors)
    for name, layer in dense.items():
        # (in, out) -> (out, in)
        layer.load_state_dict({"weight": tensors[name].T, "bias": tensors[f"{name[0]}/bias"]})
    return RecurrentQPolicy(network, toolbox.action_names, AGENT_NAME)


def read_tensors(path: Path, shapes: Shapes) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint's data file: little-endian float32, in the order of their sorted names.

    Args:
        path: the file.
        shapes: shapes of the tensors by their names.

    Raises:
        ValueError: if the file is missing or of another size than the shapes need.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    numbers: NDArray[np.float32] = np.fromfile(path, dtype="<f4").astype(np.float32)
    sizes = [prod(shapes[name]) for name in sorted(shapes)]
    if len(numbers) != sum(sizes):
        raise ValueError(f"{path}: {len(numbers)} numbers; the released network has {sum(sizes)}")
    parts = torch.from_numpy(numbers).split(sizes)
    # each part: (numbers,) -> the shape of its name
    return {name: part.view(shapes[name]) for name, part in zip(sorted(shapes), parts, strict=True)}


def _shapes(layers: Mapping[str, nn.Module]) -> Shapes:
    """Return the shapes of the released weights and biases of convolutions."""
    shapes: Shapes = {}
    for name, layer in layers.items():
        out_channels, in_channels, height, width = layer.get_parameter("weight").shape
        shapes |= {f"{name}/weights": (width, height, in_channels, out_channels), f"{name}/biases": (out_channels,)}
    return shapes


def _load_convolutions(layers: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Load released weights of swapped images into convolutions of upright ones."""
    for name, layer in layers.items():
        weight = tensors[f"{name}/weights"].permute(3, 2, 1, 0)  # (w, h, in, out) -> (out, in, h, w)
        layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}/biases"]})


def _upright_rows(matrix: Tensor) -> Tensor:
    """Reorder the rows of a dense layer's matrix for an upright feature map."""
    # (w * h * channel, feature) -> (w, h, channel, feature) -> (h * w * channel, feature)
    return matrix.view(SIDE, SIDE, CHANNELS, -1).transpose(0, 1).reshape(matrix.shape)


def _with_forget_bias(bias: Tensor) -> Tensor:
    """Add the 1 that TensorFlow adds to the forget gate at each step; the gates are i, j, f, o."""
    return bias + torch.tensor([0.0, 0.0, 1.0, 0.0]).repeat_interleave(len(bias) // 4)


if __name__ == "__main__":
    run_program(main, Args)

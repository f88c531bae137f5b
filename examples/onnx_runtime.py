"""Export the paper's tools and their agent to ONNX, and restore patches with ONNX Runtime.

    python examples/onnx_runtime.py FOLDER

It needs the packages onnx, onnxscript and onnxruntime. The folder then holds a file for each tool, and `policy.onnx`:
one step of the recurrent Q-network. Programs in other languages can run these files.
"""

import sys
import warnings
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from restore_env import Policy, Tool, Toolbox, as_source, draw_pairs, evaluate, load_policy, load_toolbox
from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork
from restore_env.restoration.batch import Observation


class OnnxFile:
    """Run an ONNX file on tensors.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs for the inputs."""
        names = [value.name for value in self.session.get_inputs()]
        arrays = {name: value.contiguous().numpy() for name, value in zip(names, inputs, strict=True)}
        return [torch.from_numpy(array) for array in self.session.run(None, arrays)]


class QStep(nn.Module):
    """One step of a recurrent Q-network, with plain tensors in and out.

    Args:
        network: the network.
    """

    def __init__(self, network: RecurrentQNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Tensor, previous_action: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return Q-values (n, actions) and the LSTM's state, two tensors (n, hidden)."""
        values, state = self.network(images, previous_action, LSTMState(hidden, cell))
        return values, state.hidden, state.cell


class OnnxPolicy(Policy):
    """A recurrent Q-policy that ONNX Runtime computes.

    Args:
        path: what `export_policy` wrote.
        policy: the policy that was exported.
    """

    def __init__(self, path: Path, policy: Policy) -> None:
        self.step, self.name = OnnxFile(path), "onnx"
        self.action_names, self.patch_size, self.hidden = policy.action_names, policy.patch_size, policy.network.hidden

    def initial_state(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the LSTM's state at the start of n episodes: zeros."""
        return torch.zeros(n, self.hidden), torch.zeros(n, self.hidden)

    def act(self, observation: Observation, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Choose the actions with the highest Q-values; see `Policy.act`."""
        images = observation.image.permute(0, 3, 1, 2).float() / 255  # (n, h, w, 3) -> (n, 3, h, w)
        values, hidden, cell = self.step(images, observation.previous_action, *state)
        return values.argmax(1), (hidden, cell)


def export_toolbox(toolbox: Toolbox, folder: Path) -> Toolbox:
    """Write each network to a file, for images of any number and size, and return the toolbox that runs the files."""
    tools = []
    for tool in toolbox:
        side = 16 * tool.multiple
        shapes = {"images": {0: Dim("n"), 2: tool.multiple * Dim("h"), 3: tool.multiple * Dim("w")}}
        path = folder / f"{tool.name}.onnx"
        export(tool.module, {"images": torch.rand(2, 3, side, side + tool.multiple)}, shapes, path)
        run = OnnxFile(path)
        tools.append(Tool(tool.name, lambda images, run=run: run(images)[0], tool.removes, tool.interval, tool.cost))
    return Toolbox(tools, f"{toolbox.name}-onnx")


def export_policy(policy: Policy, path: Path) -> OnnxPolicy:
    """Write one step of a recurrent Q-policy to a file, and return the policy that runs it."""
    network = policy.network
    inputs = {
        "images": torch.rand(2, 3, network.patch_size, network.patch_size),
        "previous_action": torch.tensor([0, network.n_tools]),
        "hidden": torch.zeros(2, network.hidden),
        "cell": torch.zeros(2, network.hidden),
    }
    export(QStep(network), inputs, {name: {0: Dim("n")} for name in inputs}, path)
    return OnnxPolicy(path, policy)


def export(network: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, dict[int, Dim]], path: Path) -> None:
    """Write a network to an ONNX file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own libraries
        torch.onnx.export(
            network.eval(),
            kwargs=inputs,
            f=path,
            input_names=list(inputs),
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def main(folder: Path) -> None:
    """Export, restore the same patches with PyTorch and ONNX Runtime, and compare."""
    folder.mkdir(parents=True, exist_ok=True)
    toolbox = load_toolbox("rl-restore-12")
    policy = load_policy("drqn", toolbox)
    exported = export_toolbox(toolbox, folder)
    pairs = draw_pairs(as_source("embedded", "moderate", 63), 32, seed=0)
    ours = evaluate(pairs, policy, toolbox)
    theirs = evaluate(pairs, export_policy(policy, folder / "policy.onnx"), exported)
    same = sum(a.toolchain == b.toolchain for a, b in zip(ours.images, theirs.images, strict=True))
    print(f"PyTorch {ours.psnr_out:.3f} dB, ONNX Runtime {theirs.psnr_out:.3f} dB")
    print(f"{same} of {ours.n} toolchains are the same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

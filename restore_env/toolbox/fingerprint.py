"""A few letters that stand for data: a checkpoint goes on with what has the same ones only."""

from collections.abc import Iterable
from hashlib import sha256

from torch import nn

from restore_env.toolbox import Toolbox

LENGTH = 12


def digest_of_toolbox(toolbox: Toolbox) -> str:
    """Of the weights of a toolbox's networks."""
    return digest_of_weights(tool.module for tool in toolbox if tool.module is not None)


def digest_of_weights(networks: Iterable[nn.Module]) -> str:
    """Of the weights of networks."""
    digest = sha256()
    for network in networks:
        for value in network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:LENGTH]

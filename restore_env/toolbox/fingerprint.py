"""Digests that tell toolboxes and weights apart: a checkpoint resumes only with those of the same digest."""

from collections.abc import Iterable
from hashlib import sha256

import torch
from torch import nn

from restore_env.toolbox import Toolbox


def digest_of_toolbox(toolbox: Toolbox) -> str:
    """Return the digest of the weights of a toolbox's networks."""
    return digest_of_weights(tool.module for tool in toolbox if tool.module is not None)


def digest_of_weights(networks: Iterable[nn.Module]) -> str:
    """Return the digest of the weights of networks.

    Example:
        >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> digest_of_weights([one]) == digest_of_weights([other])
        False
        >>> _ = other.load_state_dict(one.state_dict())
        >>> digest_of_weights([one]) == digest_of_weights([other])
        True
    """
    values = (value for network in networks for value in network.state_dict().values())
    # As bytes, because NumPy has no bfloat16: (...) -> (bytes,)
    return digest_of_bytes(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() for value in values)


def digest_of_bytes(parts: Iterable[bytes]) -> str:
    """Return the digest of the bytes of all parts: the first 12 letters of their SHA-256 in hexadecimal.

    Example:
        >>> digest_of_bytes([b"restore", b"-env"])
        '8af7d8facaf6'
    """
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]

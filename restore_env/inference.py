"""Restoring a photo: any size, no reference needed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE, RESTORING_POLICY
from restore_env.data.image_io import AnyImage, check_image
from restore_env.policies import Policy, Yardstick, load_policy, play
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox import Toolbox, load_toolbox


class Restored(NamedTuple):
    """A restored photo and how it came about.

    Attributes:
        image: of the shape and dtype of the photo given.
        steps: for each step taken its number from 1, its `action`, and how many patches voted for which action.
    """

    image: AnyImage
    steps: list[dict[str, Any]]


def restore(
    image: AnyImage,
    policy: Any = RESTORING_POLICY,
    toolbox: Any = DEFAULT_TOOLBOX,
    *,
    max_steps: int = MAX_STEPS,
    device: str = "cpu",
) -> Restored:
    """Restore a photo.

    The policy looks at all whole patches that do not overlap; each votes, and the whole photo gets the winning tool, as
    in the authors' program. A photo smaller than a patch is continued by reflection first.

    Args:
        image: uint8 or uint16, (h, w) grey, (h, w, 1), (h, w, 2) grey and alpha, (h, w, 3) RGB or (h, w, 4) RGB and
            alpha. Alpha is kept as it is.
        policy: a name, a folder or a policy; none that needs a reference.
        toolbox: a name, a folder or a toolbox.
        max_steps: tools applied at most.
        device: where to compute, "cpu" or "cuda".

    Raises:
        TypeError, ValueError: for an argument that is none of these.
        ToolError: if a tool fails.
    """
    check_image(image, fewest_channels=1)
    tools: Toolbox = load_toolbox(toolbox, device)
    chooser = check_policy(load_policy(policy, tools, device))
    colour = _colour(image)
    height, width = colour.shape[:2]
    batch = RestorationBatch(tools, max_steps=max_steps)
    batch.start(_to_tensor(_enlarged(colour, chooser.patch_size or PATCH_SIZE)).to(device))
    steps: list[dict[str, Any]] = []
    play(chooser, batch, _keep_votes(steps, tools))
    restored = batch.images[0, :, :height, :width].permute(1, 2, 0).cpu().numpy()
    return Restored(_like(restored, image), steps)


def check_policy(policy: Policy | Yardstick) -> Policy:
    """Return `policy`, or raise a `ValueError` if it needs a reference."""
    if not isinstance(policy, Policy):
        raise ValueError(f"policy={policy.name!r} needs a reference; a photo that is to be restored has none")
    return policy


def _keep_votes(steps: list[dict[str, Any]], toolbox: Toolbox) -> Callable[[Tensor, Tensor], None]:
    def keep(actions: Tensor, votes: Tensor) -> None:
        names = toolbox.action_names
        counts = {name: count for name, count in zip(names, votes[0].tolist(), strict=True) if count}
        steps.append({"step": len(steps) + 1, "action": names[int(actions[0])], "votes": counts})

    return keep


def _colour(image: AnyImage) -> AnyImage:
    """The colour channels of a photo, three of them."""
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return image[..., :3] if image.shape[2] > 2 else np.repeat(image[..., :1], 3, axis=2)


def _enlarged(image: AnyImage, side: int) -> AnyImage:
    """Continue an image below and to the right by reflection until it is as large as a patch."""
    missing = [max(0, side - length) for length in image.shape[:2]]
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def _to_tensor(image: AnyImage) -> Tensor:
    """uint8 or uint16 (h, w, 3) -> float32 (1, 3, h, w) in [0, 1]."""
    floats = np.divide(image, np.iinfo(image.dtype).max, dtype=np.float32)
    return torch.from_numpy(floats).permute(2, 0, 1).unsqueeze(0)


def _like(restored: NDArray[np.float32], image: AnyImage) -> AnyImage:
    """Give restored colours the dtype, the channels and the alpha of the photo."""
    peak = np.iinfo(image.dtype).max
    grey = image.ndim == 2 or image.shape[2] < 3
    colour = restored.mean(axis=2, keepdims=True) if grey else restored
    colour = np.rint(np.clip(colour, 0, 1) * peak).astype(image.dtype)
    if image.ndim == 2:
        return colour[..., 0]
    return np.concatenate([colour, image[..., colour.shape[2] :]], axis=2)

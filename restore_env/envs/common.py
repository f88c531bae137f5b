"""What the single and the vector environment share: arguments, spaces, starting states, observations, infos."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from restore_env.data.distortions import DistortionModel
from restore_env.data.image_io import check_bytes
from restore_env.data.pairs import Pair, check_same_size
from restore_env.data.sources import as_source
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import SMALLEST_SIDE
from restore_env.restoration.rewards import Reward
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.utils.checks import check_choice, check_device, check_flag, check_whole
from restore_env.utils.tensors import images_to_tensor

ObservationDict = dict[str, Any]
Info = dict[str, Any]
Options = dict[str, Any]

RENDER_MODES = (None, "rgb_array")


class Episodes:
    """n episodes on n pairs of one source; see `ImageRestoreEnv` for the arguments."""

    def __init__(
        self,
        *,
        images: Any,
        severity: str | DistortionModel,
        toolbox: Any,
        reward: str | Reward,
        patch_size: int,
        max_steps: int,
        stop_action: bool,
        time_limit: str,
        stop_if_worse: bool,
        include_step: bool,
        device: str,
        dtype: str | None,
        render_mode: str | None,
    ) -> None:
        check_choice("render_mode", render_mode, RENDER_MODES)
        self.patch_size = check_whole("patch_size", patch_size, SMALLEST_SIDE)
        self.include_step = check_flag("include_step", include_step)
        self.device = check_device(device)
        self.toolbox: Toolbox = load_toolbox(toolbox, self.device, dtype)
        self.source = as_source(images, severity, self.patch_size)
        self.batch = RestorationBatch(
            self.toolbox,
            max_steps=max_steps,
            stop_action=stop_action,
            time_limit=time_limit,
            stop_if_worse=stop_if_worse,
            reward=reward,
            record=render_mode is not None,
        )
        self.observation_space = self._observation_space()
        self.action_space = spaces.Discrete(len(self.toolbox) + self.batch.stop_action)

    def pair(self, options: Options | None, draw: Callable[[], Pair]) -> Pair:
        """The pair of a new episode: that of `options`, or one that is drawn."""
        pair = self._given(options or {}) or draw()
        size = (self.patch_size, self.patch_size, 3)
        if pair.distorted.shape != size or pair.reference.shape != size:
            raise ValueError(
                f"a pair of the shape {pair.distorted.shape}; the patch_size of this environment needs {size}"
            )
        return pair

    def start(self, pairs: Sequence[Pair]) -> None:
        """Begin all episodes."""
        self.batch.start(*self._tensors(pairs))

    def restart(self, rows: NDArray[np.int64], pairs: Sequence[Pair]) -> None:
        """Begin the episodes of some rows anew."""
        self.batch.restart(torch.from_numpy(rows).to(self.device), *self._tensors(pairs))

    def observations(self, rows: NDArray[np.int64] | None = None) -> ObservationDict:
        """New arrays with the observations of some episodes, by default of all."""
        observed = self.batch.observe(None if rows is None else torch.from_numpy(rows).to(self.device))
        result = {"image": observed.image.cpu().numpy(), "previous_action": observed.previous_action.cpu().numpy()}
        return result | ({"step": observed.step.cpu().numpy()} if self.include_step else {})

    def infos(self, rows: NDArray[np.int64], pairs: Sequence[Pair] = ()) -> list[Info]:
        """New infos of some episodes; with the parameters of the distortions if they start with `pairs`."""
        wanted = torch.from_numpy(rows).to(self.device)
        columns = self.batch.psnr[wanted].tolist(), self.batch.steps[wanted].tolist()
        infos: list[Info] = [
            {"psnr": value, "step": step, "toolchain": toolchain}
            for value, step, toolchain in zip(*columns, self.batch.named_toolchains(wanted), strict=True)
        ]
        for info, pair in zip(infos, pairs, strict=False):
            if pair.distortion is not None:
                info["distortion"] = dict(pair.distortion)
        return infos

    def _observation_space(self) -> spaces.Dict:
        parts: dict[str, spaces.Space[Any]] = {
            "image": spaces.Box(0, 255, (self.patch_size, self.patch_size, 3), np.uint8),
            "previous_action": spaces.Discrete(len(self.toolbox) + 1),
        }
        if self.include_step:
            parts["step"] = spaces.Discrete(self.batch.max_steps + 1)
        return spaces.Dict(parts)

    def _tensors(self, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        distorted = images_to_tensor([pair.distorted for pair in pairs], self.device)
        return distorted, images_to_tensor([pair.reference for pair in pairs], self.device)

    def _given(self, options: Options) -> Pair | None:
        unknown = options.keys() - {"distorted", "reference"}
        if unknown:
            raise ValueError(f"options has the key {min(unknown)!r}; 'distorted' and 'reference' are known")
        if ("distorted" in options) != ("reference" in options):
            raise ValueError("options holds one of 'distorted' and 'reference'; both are needed")
        if "distorted" not in options:
            return None
        distorted = check_bytes("options['distorted']", options["distorted"])
        reference = check_bytes("options['reference']", options["reference"])
        check_same_size(distorted, reference)
        return Pair(distorted, reference)

"""The batched environment behind `gymnasium.make_vec("ImageRestore-v0")`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import DistortionModel
from restore_env.data.image_io import check_all_bytes
from restore_env.data.pairs import Pair
from restore_env.envs.common import Episodes, Info, ObservationDict, Options
from restore_env.envs.env import ImageRestoreEnv
from restore_env.envs.prefetch import Prefetcher
from restore_env.envs.rendering import draw_episode
from restore_env.restoration.rewards import Reward
from restore_env.utils.checks import check_flag, check_whole

Rows = NDArray[np.int64]


class ImageRestoreVectorEnv(gym.vector.VectorEnv[ObservationDict, NDArray[np.int64], NDArray[Any]]):
    """`num_envs` environments `ImageRestore-v0` as one batch.

    It returns what `gymnasium.vector.SyncVectorEnv` over as many single environments would, sub-environment i seeded
    with `seed + i`, but applies each tool once to all images that chose it, and meanwhile draws the pairs of the next
    episodes. After the first step the generators of `np_random` are therefore ahead by a pair.

    Args:
        num_envs: how many environments.
        prefetch: whether to draw pairs ahead, in a thread; the pairs are the same without.
        autoreset_mode: "NextStep" (Gymnasium's default), "SameStep" or "Disabled", or the `AutoresetMode`.
        max_episode_steps: another limit of the steps, as `gymnasium.make_vec` passes it; the smaller one holds.
        images, severity, toolbox, reward, patch_size, max_steps, stop_action, time_limit, stop_if_worse, include_step,
            device, dtype, render_mode: as in `ImageRestoreEnv`.

    Raises:
        TypeError, ValueError: for an argument that is none of these; the message names it.
    """

    metadata: ClassVar[dict[str, Any]] = dict(ImageRestoreEnv.metadata)  # type: ignore[misc]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        prefetch: bool = True,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        images: Any = "embedded",
        severity: str | DistortionModel = "moderate",
        toolbox: Any = DEFAULT_TOOLBOX,
        reward: str | Reward = "step_psnr",
        patch_size: int = PATCH_SIZE,
        max_steps: int = MAX_STEPS,
        stop_action: bool = True,
        time_limit: str = "truncate",
        stop_if_worse: bool = False,
        include_step: bool = False,
        device: str = "cpu",
        dtype: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = check_whole("num_envs", num_envs, 1)
        limits = [check_whole("max_steps", max_steps, 1)]
        limits += [] if max_episode_steps is None else [check_whole("max_episode_steps", max_episode_steps, 1)]
        self.autoreset_mode = _as_mode(autoreset_mode)
        self.metadata = {**ImageRestoreEnv.metadata, "autoreset_mode": self.autoreset_mode}  # type: ignore[misc]
        self.render_mode = render_mode
        self._episodes = Episodes(
            images=images,
            severity=severity,
            toolbox=toolbox,
            reward=reward,
            patch_size=patch_size,
            max_steps=min(limits),
            stop_action=stop_action,
            time_limit=time_limit,
            stop_if_worse=stop_if_worse,
            include_step=include_step,
            device=device,
            dtype=dtype,
            render_mode=render_mode,
        )
        self.toolbox = self._episodes.toolbox
        self.single_observation_space = self._episodes.observation_space
        self.single_action_space = self._episodes.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._generators: list[tuple[np.random.Generator, int]] = []
        self._prefetcher = Prefetcher(self._episodes.source, check_flag("prefetch", prefetch))
        self._started = False

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random number generators of the sub-environments."""
        return tuple(generator for generator, _ in self._seeded())

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Their seeds."""
        return tuple(seed for _, seed in self._seeded())

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Options | None = None
    ) -> tuple[ObservationDict, Info]:
        """Begin all episodes, or those of `options["reset_mask"]`.

        Args:
            seed: sub-environment i gets `seed + i`, or the i-th of a sequence.
            options: `distorted` and `reference`, uint8 arrays (num_envs, patch_size, patch_size, 3), or one pair
                without the first axis for all; `reset_mask`, bool (num_envs,).
        """
        options = options or {}
        rows = self._rows(options)
        self._seed(seed, rows)
        infos = self._begin(rows, options)
        return self._episodes.observations(), infos

    def step(
        self, actions: Any
    ) -> tuple[ObservationDict, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Take one step in every sub-environment, resetting as `autoreset_mode` says.

        Args:
            actions: (num_envs,) integers.

        Raises:
            ValueError: if there are not `num_envs` actions or one is out of range.
            ToolError: if a tool fails; all episodes stay where they were.
            gymnasium.error.ResetNeeded: before the first reset; with `DISABLED` also if an ended episode was not reset.
        """
        batch = self._episodes.batch
        if not self._started:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before step()")
        over = batch.ended.cpu().numpy()
        if over.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(f"episode {int(over.argmax())} has ended; call reset() with a 'reset_mask'")
        self._prefetcher.prepare(self.np_random)
        reward, terminated, truncated = (value.cpu().numpy() for value in batch.step(self._integers(actions)))
        infos = self._after_step(np.flatnonzero(over), np.flatnonzero(terminated | truncated))
        return self._episodes.observations(), reward, terminated, truncated, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions can be taken, bool (num_envs, actions): always all."""
        return np.ones((self.num_envs, int(self._episodes.action_space.n)), dtype=np.bool_)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each episode, as `ImageRestoreEnv.render` draws it."""
        if self.render_mode is None:
            return None
        if not self._started:
            raise gym.error.ResetNeeded("nothing to render yet; call reset() first")
        return tuple(draw_episode(self._episodes.batch, row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """End the thread that draws pairs."""
        self._prefetcher.close()

    def _integers(self, actions: Any) -> torch.Tensor:
        array = np.asarray(actions)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"actions={actions!r} holds {array.dtype}; {self.num_envs} integers are needed")
        return torch.from_numpy(array.astype(np.int64))

    def _after_step(self, over: Rows, ended: Rows) -> Info:
        """Reset what has to be, and collect the infos of all sub-environments."""
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        infos: Info = {}
        reset_now = ended if same_step else over
        going_on = np.setdiff1d(np.arange(self.num_envs), reset_now)
        for row, info in zip(going_on.tolist(), self._episodes.infos(going_on), strict=True):
            infos = self._add_info(infos, info, row)
        if same_step and len(ended):
            final = self._episodes.observations(ended)
            for index, (row, info) in enumerate(zip(ended.tolist(), self._episodes.infos(ended), strict=True)):
                single = {key: value[index].copy() for key, value in final.items()}
                infos = self._add_info(infos, {"final_obs": single, "final_info": info}, row)
        return self._begin(reset_now, {}, infos)

    def _begin(self, rows: Rows, options: Options, infos: Info | None = None) -> Info:
        """Begin the episodes of some rows and add their infos."""
        infos = {} if infos is None else infos
        if not len(rows):
            return infos
        pairs = [self._pair(row, options) for row in rows.tolist()]
        if len(rows) == self.num_envs:
            self._episodes.start(pairs)
        else:
            self._episodes.restart(rows, pairs)
        self._started = True
        for row, info in zip(rows.tolist(), self._episodes.infos(rows, pairs), strict=True):
            infos = self._add_info(infos, info, row)
        return infos

    def _pair(self, row: int, options: Options) -> Pair:
        return self._episodes.pair(
            self._options_of(row, options), lambda: self._prefetcher.take(row, self._seeded()[row][0])
        )

    def _rows(self, options: Options) -> Rows:
        if "reset_mask" not in options:
            return np.arange(self.num_envs)
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask']={mask!r} is not a bool array of the shape ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask'] is False everywhere; at least one True is needed")
        if not self._started and not mask.all():
            raise gym.error.ResetNeeded("no episode has begun; call reset() without a 'reset_mask' first")
        return np.flatnonzero(mask)

    def _options_of(self, row: int, options: Options) -> Options:
        """The options of one sub-environment."""
        single = {key: value for key, value in options.items() if key != "reset_mask"}
        for key in single.keys() & {"distorted", "reference"}:
            if isinstance(single[key], np.ndarray) and single[key].ndim == 4:
                if len(single[key]) != self.num_envs:
                    raise ValueError(
                        f"options[{key!r}] holds {len(single[key])} images for {self.num_envs} environments"
                    )
                check_all_bytes(f"options[{key!r}]", single[key])
                single[key] = single[key][row]
        return single

    def _seeded(self) -> list[tuple[np.random.Generator, int]]:
        if not self._generators:
            self._generators = [seeding.np_random() for _ in range(self.num_envs)]
        return self._generators

    def _seed(self, seed: int | Sequence[int | None] | None, rows: Rows) -> None:
        if seed is None:
            return
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed holds {len(seeds)} seeds for {self.num_envs} environments")
        generators = self._seeded()
        for row in rows.tolist():
            if seeds[row] is not None:
                generators[row] = seeding.np_random(seeds[row])


def _as_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        known = ", ".join(repr(known.value) for known in AutoresetMode)
        raise ValueError(f"autoreset_mode={mode!r} is not one of {known}") from error

"""The batched environment that `gymnasium.make_vec("ImageRestore-v1")` makes."""

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from restore_env.constants import MAX_STEPS
from restore_env.data.image_io import check_all_bytes
from restore_env.data.pairs import Pair
from restore_env.envs.common import EnvObservation, EnvOptions, Info, ResetOptions, one_of
from restore_env.envs.env import ImageRestoreEnv
from restore_env.envs.prefetch import Prefetcher
from restore_env.envs.rendering import draw_episode
from restore_env.utils.checks import check_choice, check_flag, check_whole

Rows = NDArray[np.int64]


class ImageRestoreVectorEnv(gym.vector.VectorEnv[EnvObservation, NDArray[np.int64], NDArray[Any]]):
    """A vector environment of `num_envs` environments `ImageRestore-v1`, computed as one batch.

    It returns the same values as `gymnasium.vector.SyncVectorEnv` over single environments, where sub-environment i is
    seeded with `seed + i`. It is faster, because each tool is applied once to all images that need it. Meanwhile a
    thread draws the pairs of the next episodes. The generators of `np_random` are therefore one pair ahead after the
    first step.

    Args:
        num_envs: number of environments.
        prefetch: whether a thread draws pairs ahead. The pairs are the same without it.
        autoreset_mode: "NextStep" (Gymnasium's default), "SameStep" or "Disabled", or the `AutoresetMode`.
        max_episode_steps: a second limit of the steps, which `gymnasium.make_vec` passes; the smaller limit applies.
        **options: the options of `ImageRestoreEnv`.

    Raises:
        TypeError, ValueError: if an argument is none of these; the message names the argument.

    Example:
        >>> import gymnasium as gym
        >>> import numpy as np
        >>> import restore_env
        >>> envs = gym.make_vec("ImageRestore-v1", num_envs=3, toolbox="classical")
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([0, 1, 2]))
        >>> observations["image"].shape, rewards.shape
        ((3, 63, 63, 3), (3,))
        >>> envs.close()
    """

    metadata: ClassVar[dict[str, Any]] = dict(ImageRestoreEnv.metadata)  # type: ignore[misc]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        prefetch: bool = True,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **options: Unpack[EnvOptions],
    ) -> None:
        self.num_envs = check_whole("num_envs", num_envs, 1)
        mode = getattr(autoreset_mode, "value", autoreset_mode)
        check_choice("autoreset_mode", mode, [known.value for known in AutoresetMode])
        self.autoreset_mode = AutoresetMode(mode)
        if max_episode_steps is not None:
            limit = check_whole("max_episode_steps", max_episode_steps, 1)
            options["max_steps"] = min(limit, check_whole("max_steps", options.get("max_steps", MAX_STEPS), 1))
        single = ImageRestoreEnv(**options)
        self.metadata = {**ImageRestoreEnv.metadata, "autoreset_mode": self.autoreset_mode}  # type: ignore[misc]
        self.render_mode, self.toolbox, self.max_steps = single.render_mode, single.toolbox, single.max_steps
        self._core = single._core
        self.single_observation_space = self._core.observation_space
        self.single_action_space = self._core.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._generators: list[tuple[np.random.Generator, int]] = []
        self._prefetcher = Prefetcher(self._core, check_flag("prefetch", prefetch))
        self._started = False

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random number generators of the sub-environments."""
        return tuple(generator for generator, _ in self._seeded())

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of the sub-environments."""
        return tuple(seed for _, seed in self._seeded())

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: ResetOptions | None = None
    ) -> tuple[EnvObservation, Info]:
        """Begin all episodes, or those that `options["reset_mask"]` selects.

        Args:
            seed: sub-environment i gets `seed + i`, or item i of a sequence.
            options: the pairs of the episodes, instead of drawn ones: `distorted` and `reference`, uint8 arrays
                (num_envs, patch_size, patch_size, 3), or without the first axis for one pair in all sub-environments.
                `reset_mask`, bool (num_envs,), selects sub-environments.

        Returns:
            The observations and infos of all sub-environments.

        Raises:
            TypeError, ValueError: if `seed` or `options` is none of these.
            gymnasium.error.ResetNeeded: if the first reset has a mask that does not select all.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self._check_open()
        options = options or {}
        rows = self._rows(options)
        self._seed(seed, rows)
        self._begin(rows, options)
        return self._core.observations(), self._spread(rows, self._core.infos(rows))

    def step(
        self, actions: Any
    ) -> tuple[EnvObservation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Take one step in each sub-environment, and reset as `autoreset_mode` says.

        Args:
            actions: integers (num_envs,).

        Returns:
            The observations, the rewards, which episodes have terminated, which were truncated, and the infos.

        Raises:
            ValueError: if there are not `num_envs` actions, or one is out of range.
            ToolError: if a tool fails; no episode changes.
            gymnasium.error.ResetNeeded: before the first reset; in the mode "Disabled" also if an ended episode was not
                reset.
            gymnasium.error.ClosedEnvironmentError: after `close`.
        """
        self._check_open()
        batch = self._core.batch
        if not self._started:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before step()")
        over = batch.ended.cpu().numpy()
        if over.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(f"episode {int(over.argmax())} has ended; call reset() with a 'reset_mask'")
        self._prefetcher.prepare(self.np_random)
        reward, terminated, truncated = (value.cpu().numpy() for value in batch.step(self._integers(actions)))
        infos = self._after_step(np.flatnonzero(over), np.flatnonzero(terminated | truncated))
        return self._core.observations(), reward, terminated, truncated, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask of valid actions, bool (num_envs, actions); all actions are always valid."""
        return self._core.action_masks(self.num_envs)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Draw each episode as `ImageRestoreEnv.render` does; return None without a render mode."""
        if self.render_mode is None:
            return None
        if not self._started:
            raise gym.error.ResetNeeded("nothing to render yet; call reset() first")
        return tuple(draw_episode(self._core.batch, row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """End the thread that draws pairs."""
        self._prefetcher.close()

    def __getstate__(self) -> dict[str, Any]:
        self._prefetcher.settle()  # its thread draws from the generators
        return vars(self).copy()

    def _check_open(self) -> None:
        """Raise a `ClosedEnvironmentError` after `close`."""
        if self.closed:
            raise gym.error.ClosedEnvironmentError("the environment is closed; make a new one")

    def _integers(self, actions: Any) -> torch.Tensor:
        """Return actions as an int64 tensor of their shape."""
        array = np.asarray(actions)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"actions={actions!r} holds {array.dtype}; {self.num_envs} integers are needed")
        return torch.from_numpy(array.astype(np.int64))

    def _after_step(self, over: Rows, ended: Rows) -> Info:
        """Reset episodes as the mode says, and return the infos of all sub-environments.

        Args:
            over: rows of the episodes that had ended before the step.
            ended: rows of the episodes that ended with the step.
        """
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        finals: Info = {}
        if same_step and len(ended):
            last = self._core.observations(ended)
            observations = np.full(self.num_envs, None, dtype=object)  # as Gymnasium has it
            for index, row in enumerate(ended.tolist()):
                observations[row] = one_of(last, index)
            masks = {f"_{key}": self._mask(ended) for key in ("final_obs", "final_info")}
            finals = {"final_obs": observations, "final_info": self._spread(ended, self._core.infos(ended)), **masks}
        self._begin(ended if same_step else over, {})
        everyone = np.arange(self.num_envs)
        return finals | self._spread(everyone, self._core.infos(everyone))

    def _begin(self, rows: Rows, options: ResetOptions) -> None:
        """Begin the episodes of some rows."""
        if not len(rows):
            return
        pairs = [self._pair(row, options) for row in rows.tolist()]
        if len(rows) == self.num_envs:
            self._core.start(pairs)
        else:
            self._core.restart(rows, pairs)
        self._started = True

    def _spread(self, rows: Rows, infos: Info) -> Info:
        """Return the infos of some rows in Gymnasium's form: (num_envs, ...), and under `_key` which rows have them."""
        result: Info = {}
        for key, values in infos.items():
            result[key] = np.zeros((self.num_envs, *values.shape[1:]), values.dtype)
            result[key][rows] = values
            result[f"_{key}"] = self._mask(rows)
        return result

    def _mask(self, rows: Rows) -> NDArray[np.bool_]:
        """Return a new mask, bool (num_envs,), that is True in some rows."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        return mask

    def _pair(self, row: int, options: ResetOptions) -> Pair:
        """Return the pair of a new episode of one sub-environment."""
        return self._core.pair(
            self._options_of(row, options), lambda: self._prefetcher.take(row, self._seeded()[row][0])
        )

    def _rows(self, options: ResetOptions) -> Rows:
        """Return the rows that the options of a reset select."""
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

    def _options_of(self, row: int, options: ResetOptions) -> ResetOptions:
        """Return the reset options of one sub-environment."""
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
        """Return the generators and their seeds; the first call makes them."""
        if not self._generators:
            self._generators = [seeding.np_random() for _ in range(self.num_envs)]
        return self._generators

    def _seed(self, seed: int | Sequence[int | None] | None, rows: Rows) -> None:
        """Seed the generators of some rows."""
        if seed is None:
            return
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed holds {len(seeds)} seeds for {self.num_envs} environments")
        generators = self._seeded()
        for row in rows.tolist():
            if seeds[row] is not None:
                generators[row] = seeding.np_random(seeds[row])

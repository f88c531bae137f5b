"""Image restoration as a sequence of decisions: a Gymnasium environment around a toolbox of small tools.

Importing the package registers the environments `ImageRestore-v1` and `ImageRestore-v0`, the paper's. It does not
import torch or OpenCV: each public name is imported when it is first used.

Example:
    >>> import gymnasium as gym
    >>> import restore_env
    >>> gym.make("ImageRestore-v1").action_space
    Discrete(13)
"""

import restore_env.utils.interrupts  # noqa: F401 - before imports that take time

# isort: split

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from gymnasium.envs.registration import register, registry

from restore_env.constants import DEFAULT_TOOLBOX, ENV_ID, PAPER_ENV_ID, PAPER_TOOLBOX

# `X as X` tells type checkers that a name is public.
if TYPE_CHECKING:
    from restore_env.data.distortions import (
        AnyOrder as AnyOrder,
        DefocusBlur as DefocusBlur,
        GaussianBlur as GaussianBlur,
        GaussianNoise as GaussianNoise,
        JPEGCompression as JPEGCompression,
        MixedDistortion as MixedDistortion,
        MotionBlur as MotionBlur,
        OneOf as OneOf,
        PoissonNoise as PoissonNoise,
        Resampling as Resampling,
        SaltAndPepperNoise as SaltAndPepperNoise,
        WebPCompression as WebPCompression,
    )
    from restore_env.data.image_io import read_image as read_image, write_image as write_image
    from restore_env.data.pairs import Pairs as Pairs, load_pairs as load_pairs, save_pairs as save_pairs
    from restore_env.data.sources import as_source as as_source, draw_pairs as draw_pairs
    from restore_env.data.toolchain_log import load_toolchain_log as load_toolchain_log
    from restore_env.envs.env import ImageRestoreEnv as ImageRestoreEnv
    from restore_env.envs.vector_env import ImageRestoreVectorEnv as ImageRestoreVectorEnv
    from restore_env.envs.wrappers import RecordToolchains as RecordToolchains
    from restore_env.errors import FormatError as FormatError, ImageError as ImageError, ToolError as ToolError
    from restore_env.evaluation import Evaluation as Evaluation, evaluate as evaluate
    from restore_env.inference import Restored as Restored, restore as restore
    from restore_env.policies import Policy as Policy, load_policy as load_policy, save_policy as save_policy
    from restore_env.restoration.rewards import Transition as Transition, Weighted as Weighted
    from restore_env.toolbox import (
        Tool as Tool,
        Toolbox as Toolbox,
        load_toolbox as load_toolbox,
        save_toolbox as save_toolbox,
    )

__version__ = "0.2.0"

_MODULES: Final = {
    "data.distortions": (
        *("GaussianBlur", "MotionBlur", "DefocusBlur"),
        *("GaussianNoise", "PoissonNoise", "SaltAndPepperNoise"),
        *("JPEGCompression", "WebPCompression", "Resampling"),
        *("AnyOrder", "MixedDistortion", "OneOf"),
    ),
    "envs.env": ("ImageRestoreEnv",),
    "errors": ("FormatError", "ImageError", "ToolError"),
    "evaluation": ("Evaluation", "evaluate"),
    "data.image_io": ("read_image", "write_image"),
    "data.pairs": ("Pairs", "load_pairs", "save_pairs"),
    "data.sources": ("as_source", "draw_pairs"),
    "policies": ("Policy", "load_policy", "save_policy"),
    "envs.wrappers": ("RecordToolchains",),
    "inference": ("Restored", "restore"),
    "restoration.rewards": ("Transition", "Weighted"),
    "toolbox": ("Tool", "Toolbox", "load_toolbox", "save_toolbox"),
    "data.toolchain_log": ("load_toolchain_log",),
    "envs.sb3_vec_env": ("SB3VecEnv",),
    "envs.vector_env": ("ImageRestoreVectorEnv",),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)

for _id, _toolbox in ((PAPER_ENV_ID, PAPER_TOOLBOX), (ENV_ID, DEFAULT_TOOLBOX)):
    if _id not in registry:
        register(
            id=_id,
            entry_point="restore_env.envs.env:ImageRestoreEnv",
            vector_entry_point="restore_env.envs.vector_env:ImageRestoreVectorEnv",
            kwargs={"toolbox": _toolbox},
        )


def _use_one_core() -> None:
    """Let PyTorch use one core in a forked process, which would wait for ever for its parent's threads."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_core)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'restore_env' has no attribute {name!r}")
    value = getattr(import_module(f"restore_env.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Image restoration as a sequence of decisions.

Importing the package registers the environment `ImageRestore-v0` and loads neither torch nor OpenCV; the public names
below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from gymnasium.envs.registration import register, registry

from restore_env.constants import ENV_ID

if TYPE_CHECKING:
    from restore_env.distortions import GaussianBlur, GaussianNoise, JPEGCompression, MixedDistortion, OneOf
    from restore_env.env import ImageRestoreEnv
    from restore_env.errors import FormatError, ImageError, ToolError
    from restore_env.evaluation import Evaluation, evaluate
    from restore_env.pairs import Pairs, load_pairs, save_pairs
    from restore_env.policies import Policy, load_policy, save_policy
    from restore_env.record_toolchains import RecordToolchains
    from restore_env.restoring import Restored, restore
    from restore_env.toolbox import Tool, Toolbox, load_toolbox, save_toolbox
    from restore_env.toolchain_log import load_toolchain_log
    from restore_env.vector_env import ImageRestoreVectorEnv

__version__ = "0.1.0"

_MODULES: Final = {
    "distortions": ("GaussianBlur", "GaussianNoise", "JPEGCompression", "MixedDistortion", "OneOf"),
    "env": ("ImageRestoreEnv",),
    "errors": ("FormatError", "ImageError", "ToolError"),
    "evaluation": ("Evaluation", "evaluate"),
    "pairs": ("Pairs", "load_pairs", "save_pairs"),
    "policies": ("Policy", "load_policy", "save_policy"),
    "record_toolchains": ("RecordToolchains",),
    "restoring": ("Restored", "restore"),
    "toolbox": ("Tool", "Toolbox", "load_toolbox", "save_toolbox"),
    "toolchain_log": ("load_toolchain_log",),
    "vector_env": ("ImageRestoreVectorEnv",),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Evaluation",
    "FormatError",
    "GaussianBlur",
    "GaussianNoise",
    "ImageError",
    "ImageRestoreEnv",
    "ImageRestoreVectorEnv",
    "JPEGCompression",
    "MixedDistortion",
    "OneOf",
    "Pairs",
    "Policy",
    "RecordToolchains",
    "Restored",
    "Tool",
    "ToolError",
    "Toolbox",
    "evaluate",
    "load_pairs",
    "load_policy",
    "load_toolbox",
    "load_toolchain_log",
    "restore",
    "save_pairs",
    "save_policy",
    "save_toolbox",
]

if ENV_ID not in registry:
    register(
        id=ENV_ID,
        entry_point="restore_env.env:ImageRestoreEnv",
        vector_entry_point="restore_env.vector_env:ImageRestoreVectorEnv",
    )


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'restore_env' has no attribute {name!r}")
    value = getattr(import_module(f"restore_env.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

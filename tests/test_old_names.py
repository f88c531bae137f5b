"""Modules of version 0.1 still work, with a warning."""

from importlib import import_module

import pytest

import restore_env

OLD = {
    "restore_env.images": ("read_image", "write_image"),
    "restore_env.rewards": ("Transition",),
    "restore_env.pairs": ("Pairs", "as_source", "draw_pairs", "load_pairs", "save_pairs"),
    "restore_env.distortions": ("GaussianBlur", "GaussianNoise", "JPEGCompression", "MixedDistortion", "OneOf"),
    "restore_env.policies.sb3": ("SB3VecEnv",),
}


@pytest.mark.parametrize("module", OLD)
def test_an_old_module_warns_and_has_the_public_names(module):
    with pytest.warns(DeprecationWarning, match=f"{module} goes with version 0.3; .* from restore_env"):
        found = import_module(module)
    for name in OLD[module]:
        assert getattr(found, name) is getattr(restore_env, name)

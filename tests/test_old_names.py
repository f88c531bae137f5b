"""The module names of version 0.1 still work, with a warning."""

from importlib import import_module

import pytest

import restore_env
from restore_env import policies

OLD = {
    "restore_env.images": ("read_image", "write_image"),
    "restore_env.rewards": ("Transition",),
    "restore_env.pairs": ("Pairs", "as_source", "draw_pairs", "load_pairs", "save_pairs"),
    "restore_env.distortions": ("GaussianBlur", "GaussianNoise", "JPEGCompression", "MixedDistortion", "OneOf"),
    "restore_env.policies.sb3": ("SB3VecEnv",),
}
LESS_PUBLIC = {
    "restore_env.images": ("FolderPhotos", "as_rgb_bytes", "check_bytes", "embedded_photos", "image_files"),
    "restore_env.rewards": ("REWARDS", "Reward", "as_reward", "final_mse", "final_psnr", "step_psnr", "step_ssim"),
    "restore_env.pairs": ("Pair", "PairSource", "PatchSampler", "check_same_size", "input_psnr", "shrink"),
    "restore_env.distortions": (
        "ByteImage",
        "Distortion",
        "SeverityDistortion",
        "as_distortion",
        "everyday",
        "to_float",
    ),
    "restore_env.policies.sb3": (),
}


@pytest.mark.parametrize("module", OLD)
def test_an_old_module_warns_and_has_the_public_names(module):
    with pytest.warns(
        DeprecationWarning, match=f"{module} is deprecated and goes with version 0.3; import .* from restore_env"
    ):
        found = import_module(module)
    for name in OLD[module]:
        assert getattr(found, name) is getattr(restore_env, name)
    for name in LESS_PUBLIC[module]:
        assert hasattr(found, name)


def test_the_old_name_of_the_ensemble_warns():
    with pytest.warns(DeprecationWarning, match=r"MeanQPolicy is deprecated .* use EnsembleQPolicy"):
        assert policies.MeanQPolicy is policies.EnsembleQPolicy
    with pytest.raises(AttributeError, match="has no attribute 'NoPolicy'"):
        _ = policies.NoPolicy

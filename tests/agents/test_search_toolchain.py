import pytest

from agents.search_toolchain import Args, main, plan
from restore_env import load_policy, load_toolbox, save_toolbox


def new_args(photos, folder, **options) -> Args:
    return Args(photos=photos, output=folder / "chain", **options)


def test_finds_and_saves_a_toolchain(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    args = new_args(photo_folder, tmp_path, toolbox=str(tmp_path / "tools"), patches=3, max_steps=2, beam=0)
    policy = main(args)
    loaded = load_policy(tmp_path / "chain", load_toolbox(tmp_path / "tools"))
    assert loaded.name == "chain"
    assert loaded.tools == policy.tools


def test_patches_have_the_size_that_is_asked_for(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    args = new_args(photo_folder, tmp_path, toolbox=str(tmp_path / "tools"), patches=2, max_steps=1, patch_size=40)
    assert plan(args).pairs.distorted.shape == (2, 40, 40, 3)
    main(args)
    assert "patch_size: 40" in (args.output / "README.md").read_text()


def test_the_same_seed_finds_the_same(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    args = new_args(photo_folder, tmp_path, toolbox=str(tmp_path / "tools"), patches=3, max_steps=1)
    assert main(args).tools == main(args).tools


@pytest.mark.parametrize(("name", "value"), [("patches", 0), ("beam", -1), ("max_steps", 0)])
def test_what_cannot_be_is_one_line(name, value, photo_folder, tmp_path):
    with pytest.raises(ValueError, match=f"{name}={value} is not a whole number"):
        main(new_args(photo_folder, tmp_path, **{name: value}))

"""Files are written completely or not at all."""

import pytest

from restore_env.utils.files import replacing


def test_file_appears_when_the_block_ends_well(tmp_path):
    target = tmp_path / "result.json"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_file_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with replacing(tmp_path / "pairs.npz") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        assert temporary.name != "pairs.npz"


def test_replaces_an_old_file(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with replacing(str(target)) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("already_there", [True, False])
def test_failure_leaves_everything_as_it_was(tmp_path, already_there):
    target = tmp_path / "result.json"
    if already_there:
        target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), replacing(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"] * already_there


def test_writer_that_wrote_nothing_is_an_error(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(target):
        pass
    assert target.read_text() == "old"


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "nowhere" / "result.json") as temporary:
        temporary.write_text("new")
    assert not list(tmp_path.iterdir())

"""The replay buffer: the last episodes, in files that outlive a kill."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.drqn import replay_buffer
from agents.drqn.config import PRESETS
from agents.drqn.replay_buffer import Episodes, ReplayBuffer, bytes_needed, layout
from agents.drqn.trainer import MARGIN
from restore_env import FormatError
from restore_env.errors import DiskFullError


def episodes(first: int, n: int) -> Episodes:
    """Episodes whose numbers can be read from every part."""
    numbers = torch.arange(first, first + n)
    return Episodes(
        (numbers % 256).to(torch.uint8).view(n, 1, 1, 1, 1).expand(n, 3, 8, 8, 3),
        numbers.view(n, 1).expand(n, 3) % 4,
        numbers.float().view(n, 1).expand(n, 3),
        -numbers.float().view(n, 1, 1).expand(n, 3, 4),
    )


def new_buffer(folder, capacity=10, margin=4, count=0) -> ReplayBuffer:
    return ReplayBuffer(folder, capacity, margin, max_steps=3, side=8, actions=4, count=count)


def numbers_in(buffer: ReplayBuffer) -> list[int]:
    return sorted({int(number) for number in buffer.sample(1000, np.random.default_rng(0)).reward[:, 0]})


def test_what_is_drawn_is_what_was_added(tmp_path):
    buffer = new_buffer(tmp_path)
    buffer.add(episodes(0, 6))
    drawn = buffer.sample(20, np.random.default_rng(0))
    expected = episodes(0, 6)
    numbers = drawn.reward[:, 0].long()
    for name in ("image", "action", "reward", "tried"):
        one, other = getattr(drawn, name), getattr(expected, name)[numbers]
        assert torch.equal(one, other) and one.dtype == other.dtype, name


def test_only_the_last_episodes_are_drawn(tmp_path):
    buffer = new_buffer(tmp_path)
    for first in range(0, 24, 4):
        buffer.add(episodes(first, 4))
        assert numbers_in(buffer) == list(range(max(0, first + 4 - 10), first + 4))
        assert len(buffer) == min(10, first + 4)


def test_what_was_added_after_a_checkpoint_spoils_nothing_before_it(tmp_path):
    buffer = new_buffer(tmp_path)
    for first in range(0, 16, 4):
        buffer.add(episodes(first, 4))
    count = buffer.count
    buffer.add(episodes(100, 4))  # then the program is killed
    again = new_buffer(tmp_path, count=count)
    assert numbers_in(again) == list(range(6, 16))
    again.add(episodes(16, 4))
    assert numbers_in(again) == list(range(10, 20))


def test_files_of_another_shape_are_made_anew(tmp_path):
    new_buffer(tmp_path).add(episodes(0, 4))
    other = new_buffer(tmp_path, capacity=20)
    assert len(other) == 0
    other.add(episodes(0, 4))
    assert numbers_in(other) == [0, 1, 2, 3]


def test_half_a_million_steps_fit_in_six_gigabytes():
    config = PRESETS["paper"]
    assert config.buffer_size == 500_000
    slots = config.buffer_size // 3 + MARGIN * config.n_envs
    assert 500_000 * 63 * 63 * 3 < bytes_needed(layout(slots, 3, 63, 13)) < 6 * 2**30


def test_files_are_as_large_as_was_said(tmp_path):
    new_buffer(tmp_path, capacity=10, margin=4)
    headers = 5 * 128
    assert sum(file.stat().st_size for file in tmp_path.glob("*.npy")) == bytes_needed(layout(14, 3, 8, 4)) + headers


def test_too_little_room_is_told_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.drqn.replay_buffer.shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"0\.0 GB are free; a smaller --buffer-size needs less"):
        new_buffer(tmp_path)


@pytest.fixture
def full(tmp_path):
    """The folder of a buffer after 13 episodes, of which it samples the last 10."""
    buffer = new_buffer(tmp_path)
    buffer.add(episodes(0, 13))
    buffer.flush()
    return tmp_path


def refused(folder, file, message):
    before = {path.name: path.stat().st_size for path in folder.iterdir()}
    with pytest.raises(FormatError, match=rf"{file}: .*{message}"):
        new_buffer(folder, count=13)
    assert before == {path.name: path.stat().st_size for path in folder.iterdir()}


def test_what_a_checkpoint_counts_must_be_there(full):
    assert numbers_in(new_buffer(full, count=13)) == list(range(3, 13))
    (full / "reward.npy").unlink()
    refused(full, "reward.npy", "missing")
    assert len(new_buffer(full)) == 0  # a new training makes the files anew


@pytest.mark.parametrize("name", ["image", "action", "reward", "tried", "sha256"])
def test_a_flipped_bit_in_what_is_sampled_is_refused(name, full):
    path = full / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[128 + (len(content) - 128) * 5 // 14] ^= 4  # in the episode of slot 5
    path.write_bytes(content)
    refused(full, "(image|action|reward|tried).npy", "damaged, an episode's SHA-256 is not the one in sha256.npy")


def test_a_flipped_bit_in_what_is_never_sampled_does_not_matter(full):
    path = full / "image.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4  # in slot 13, which an episode after the checkpoint may have
    path.write_bytes(content)
    assert len(new_buffer(full, count=13)) == 10


@pytest.mark.parametrize("file", ["image.npy", "sha256.npy"])
def test_a_cut_file_is_refused_and_stays_as_it_is(file, full):
    (full / file).write_bytes((full / file).read_bytes()[:-1])
    refused(full, file, "missing or damaged")


def test_files_of_another_size_are_refused_and_stay(full):
    (full / "replay.json").write_text((full / "replay.json").read_text().replace("14", "15"))
    refused(full, "replay.json", "of another size")


def test_files_of_version_0_1_get_checksums(full):
    (full / "sha256.npy").unlink()
    assert numbers_in(new_buffer(full, count=13)) == list(range(3, 13))
    content = bytearray((full / "reward.npy").read_bytes())
    content[128 + 5 * 12] ^= 1
    (full / "reward.npy").write_bytes(content)
    refused(full, "reward.npy", "damaged")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_the_space_of_all_files_is_taken_at_the_start(tmp_path):
    new_buffer(tmp_path, capacity=1000)
    for file in tmp_path.glob("*.npy"):
        assert 512 * file.stat().st_blocks >= file.stat().st_size


def test_a_disk_that_fills_meanwhile_leaves_no_files_and_the_same_call_works_later(tmp_path, monkeypatch):
    taken = []

    def full(path):
        taken.append(path)
        if len(taken) == 2:
            raise DiskFullError(f"{path}: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(replay_buffer, "take_space", full)
        with pytest.raises(DiskFullError):
            new_buffer(tmp_path)
    assert list(tmp_path.iterdir()) == []
    new_buffer(tmp_path).add(episodes(0, 4))


def test_files_of_another_shape_count_as_room(tmp_path, monkeypatch):
    new_buffer(tmp_path)

    def free(folder):
        used = sum(file.stat().st_size for file in tmp_path.glob("*.npy"))
        return SimpleNamespace(free=bytes_needed(layout(24, 3, 8, 4)) - used)

    monkeypatch.setattr("agents.drqn.replay_buffer.shutil.disk_usage", free)
    assert len(new_buffer(tmp_path, capacity=20)) == 0

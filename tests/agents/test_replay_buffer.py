"""The memory: the last episodes, drawn evenly or by priority, in files that outlive a kill."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.drqn.config import PRESETS
from agents.drqn.replay_buffer import Episodes, Replay, bytes_needed
from agents.drqn.trainer import MARGIN


def episodes(first: int, n: int) -> Episodes:
    """Episodes whose numbers can be read from every part."""
    numbers = torch.arange(first, first + n)
    shape = (n, 3, 4)
    return Episodes(
        (numbers % 256).to(torch.uint8).view(n, 1, 1, 1, 1).expand(n, 3, 8, 8, 3),
        numbers.view(n, 1).expand(n, 3) % 4,
        numbers.float().view(n, 1, 1).expand(shape),
        -numbers.float().view(n, 1, 1).expand(shape),
        (numbers % 2 == 0).view(n, 1, 1).expand(shape),
    )


def new_replay(folder, capacity=10, margin=4) -> Replay:
    return Replay(folder, capacity, margin, max_steps=3, side=8, actions=4)


def numbers_in(replay: Replay) -> list[int]:
    places, _ = replay.draw(1000, np.random.default_rng(0), 0)
    return sorted({int(number) for number in replay[places].reward[:, 0, 0]})


def test_what_is_drawn_is_what_was_added(tmp_path):
    replay = new_replay(tmp_path)
    replay.add(episodes(0, 6))
    places, weights = replay.draw(20, np.random.default_rng(0), 0)
    drawn = replay[places]
    expected = episodes(0, 6)
    numbers = drawn.reward[:, 0, 0].long()
    for name in ("image", "action", "reward", "value", "known"):
        one, other = getattr(drawn, name), getattr(expected, name)[numbers]
        assert torch.equal(one, other) and one.dtype == other.dtype, name
    assert weights.tolist() == [1.0] * 20


def test_only_the_last_episodes_are_drawn(tmp_path):
    replay = new_replay(tmp_path)
    for first in range(0, 24, 4):
        replay.add(episodes(first, 4))
        assert numbers_in(replay) == list(range(max(0, first + 4 - 10), first + 4))
        assert len(replay) == min(10, first + 4)


def test_what_was_added_after_a_checkpoint_spoils_nothing_before_it(tmp_path):
    replay = new_replay(tmp_path)
    for first in range(0, 16, 4):
        replay.add(episodes(first, 4))
    state = replay.state()
    replay.add(episodes(100, 4))  # then the program is killed
    again = new_replay(tmp_path)
    again.load_state(state)
    assert numbers_in(again) == list(range(6, 16))
    again.add(episodes(16, 4))
    assert numbers_in(again) == list(range(10, 20))


def test_priorities_rule_what_is_drawn_and_weights_make_up_for_it(tmp_path):
    replay = new_replay(tmp_path)
    replay.add(episodes(0, 4))
    replay.priority[:4] = [1.0, 1.0, 1.0, 5.0]
    places, weights = replay.draw(8000, np.random.default_rng(0), 1.0)
    shares = np.bincount(places, minlength=4) / 8000
    assert shares == pytest.approx([1 / 8, 1 / 8, 1 / 8, 5 / 8], abs=0.02)
    assert weights[places == 3].unique().tolist() == pytest.approx([0.2])
    assert weights[places == 0].unique().tolist() == [1.0]
    replay.add(episodes(4, 1))
    assert replay.priority[4] == 5.0  # new ones are as urgent as the most urgent


def test_files_of_another_shape_are_made_anew(tmp_path):
    new_replay(tmp_path).add(episodes(0, 4))
    other = new_replay(tmp_path, capacity=20)
    assert len(other) == 0
    other.add(episodes(0, 4))
    assert numbers_in(other) == [0, 1, 2, 3]


def test_half_a_million_steps_fit_in_six_gigabytes():
    options = PRESETS["paper"]
    assert options.replay_steps == 500_000
    slots = options.replay_steps // 3 + MARGIN * options.episodes
    assert 500_000 * 63 * 63 * 3 < bytes_needed(slots, 3, 63, 13) < 6 * 2**30


def test_files_are_as_large_as_was_said(tmp_path):
    new_replay(tmp_path, capacity=10, margin=4)
    headers = 5 * 128
    assert sum(file.stat().st_size for file in tmp_path.glob("*.npy")) == bytes_needed(14, 3, 8, 4) + headers


def test_too_little_room_is_told_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.drqn.replay_buffer.shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"0\.0 GB are free; a smaller --replay-steps needs less"):
        new_replay(tmp_path)


def test_a_memory_that_lacks_a_file_counts_as_not_found(tmp_path):
    assert not new_replay(tmp_path).found
    assert new_replay(tmp_path).found
    (tmp_path / "value.npy").unlink()
    assert not new_replay(tmp_path).found

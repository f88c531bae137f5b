"""Toolchain logs: written in parts, read back where they lie, gone on with, refused when they do not fit."""

import json
import os
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from filelock import FileLock

import restore_env.data.toolchain_log as module
from restore_env import FormatError, RecordToolchains, load_toolchain_log
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import images_to_tensor

HEADER = LogHeader("somebody", "some-tools", ("a", "b", "stop"), 12, 2, "made up", 7)


def some(n, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, n, 12, 12, 3), dtype=np.uint8)
    distortions = [{"blur_sigma": rng.uniform(0, 5), "fog": 0.5} if rng.random() < 0.7 else None for _ in range(n)]
    return Toolchains(*images, rng.integers(-1, 2, (n, 2)), distortions)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "PART_SIZE", 4)


def test_what_is_written_is_read_back_whatever_the_parts(tmp_path):
    chains = some(11)
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        for first, last in ((0, 3), (3, 4), (4, 11)):
            log.add(Toolchains(*(column[first:last] for column in chains)))
        assert len(log) == 11
    read = load_toolchain_log(tmp_path / "log")
    assert read.header == HEADER
    assert read.lengths == (4, 4, 3)
    for rows in (slice(None), [10, 0, 5, 5], slice(3, 9)):
        for written, found in zip(chains[:3], read[rows][:3], strict=True):
            assert np.array_equal(written[rows], found)
        assert read[rows].distortions == [chains.distortions[row] for row in np.arange(11)[rows]]


def test_a_log_need_not_know_the_distortions(tmp_path):
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        log.add(some(6)._replace(distortions=()))
        log.add(some(6, 1))
    read = load_toolchain_log(tmp_path / "log")
    assert read[:4].distortions == ()
    assert read[:].distortions == [None] * 6 + list(some(6, 1).distortions)
    with pytest.raises(ValueError, match="1 distortions for 2 toolchains"):
        log.add(some(2)._replace(distortions=[None]))


def test_distortions_of_a_part_that_was_not_completed_are_forgotten(tmp_path):
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        log.add(some(4))
    (tmp_path / "log/part-000000.npy").unlink()
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        log.add(some(3, 1)._replace(distortions=()))
    assert load_toolchain_log(tmp_path / "log")[:].distortions == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.5", "0.6"), "SHA-256 is not the one"),
        (lambda text: text[:40], "JSON"),
        (lambda text: '{"format": 1, "distortions": [null]}', "distortions of 1 toolchains; 4 are needed"),
        (lambda text: '{"format": 1, "distortions": [1, 2, 3, 4]}', "part-000000.json"),
        (lambda text: '{"format": 1}', "'distortions' is missing"),
    ],
)
def test_damaged_distortions_are_refused(tmp_path, change, message):
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        log.add(some(4))
    path = tmp_path / "log/part-000000.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(FormatError, match=message):
        load_toolchain_log(tmp_path / "log")[:]


def test_memory_is_bounded_by_a_part(tmp_path):
    log = ToolchainLogWriter(tmp_path / "log", HEADER)
    for seed in range(5):
        log.add(some(3, seed))
        assert len(load_toolchain_log(tmp_path / "log")) == 3 * (seed + 1) // 4 * 4


def test_few_parts_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OPEN_PARTS", 3)
    with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
        log.add(some(40))
    before = len(os.listdir("/proc/self/fd"))
    read = load_toolchain_log(tmp_path / "log")
    assert np.array_equal(read[:].chain, some(40).chain)
    assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_a_log_is_gone_on_with(tmp_path):
    for seed in (0, 1):
        with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
            assert len(log) == 5 * seed
            log.add(some(5, seed))
    assert np.array_equal(load_toolchain_log(tmp_path / "log")[5:].chain, some(5, 1).chain)


@pytest.mark.parametrize("change", [{"policy": "other"}, {"actions": ("a", "stop")}, {"seed": 8}])
def test_another_log_is_not_gone_on_with(tmp_path, change):
    ToolchainLogWriter(tmp_path / "log", HEADER)
    with pytest.raises(ValueError, match=f"holds a log of another {next(iter(change))}"):
        ToolchainLogWriter(tmp_path / "log", replace(HEADER, **change))


def test_toolchains_of_another_size_are_refused_and_nothing_is_written(tmp_path):
    log = ToolchainLogWriter(tmp_path / "log", HEADER)
    with pytest.raises(ValueError, match=r"chain of the shape \(3, 1\); .* needs \(3, 2\)"):
        log.add(some(3)._replace(chain=np.zeros((3, 1), np.int64)))
    assert len(log) == 0


@pytest.mark.parametrize("number", [-2, 2, 2**16, -(2**16)])
def test_a_tool_that_the_header_does_not_know_is_not_written(tmp_path, number):
    log, chains = ToolchainLogWriter(tmp_path / "log", HEADER), some(3)
    chains.chain[1, 1] = number
    with pytest.raises(ValueError, match="chain: a number is not one of -1 to 1, the tools"):
        log.add(chains)
    assert len(log) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "a/b"}, "policy='a/b' cannot name a file"),
        ({"toolbox": ""}, "toolbox='' cannot name a file"),
        ({"actions": ("../a", "b", "stop")}, "'../a' cannot name a file"),
        ({"actions": ("a", "a", "stop")}, "a name comes twice"),
        ({"source": "a\nb"}, "control character"),
        ({"patch_size": 0}, "patch_size=0 is not a whole number"),
        ({"max_steps": True}, "max_steps=True is not a whole number"),
        ({"seed": 1.5}, "seed=1.5 is not a whole number"),
    ],
)
def test_a_header_that_is_none_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(HEADER, **change)


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        with ToolchainLogWriter(tmp_path / "log", HEADER) as log:
            log.add(some(4))
        return tmp_path / "log"

    def test_no_log(self, tmp_path):
        with pytest.raises(FormatError, match=r"no toolchain log; a folder with toolchains\.json is needed"):
            load_toolchain_log(tmp_path)

    def test_a_cut_part(self, folder):
        part = folder / "part-000000.npy"
        part.write_bytes(part.read_bytes()[:200])
        with pytest.raises(FormatError, match="part-000000.npy: not a NumPy array, or damaged"):
            load_toolchain_log(folder)

    def test_a_part_of_another_log(self, folder):
        np.save(folder / "part-000001.npy", np.zeros(3))
        with pytest.raises(FormatError, match="part-000001.npy: does not hold what toolchains.json says"):
            load_toolchain_log(folder)

    @pytest.mark.parametrize("number", [2, -2])
    def test_a_tool_that_is_not(self, folder, number):
        part = np.load(folder / "part-000000.npy")
        part["toolchain"][0, 0] = number
        np.save(folder / "part-000000.npy", part)
        with pytest.raises(FormatError, match="a toolchain names a tool that"):
            load_toolchain_log(folder)[:]

    @pytest.mark.parametrize("change", [{"patch_size": "x"}, {"colour": 1}, {"format": 2}, {"patch_size": 10**9}])
    def test_another_header(self, folder, change):
        path = folder / "toolchains.json"
        content = json.loads(path.read_text()) | change
        for wrong in (content, {key: value for key, value in content.items() if key != "sha256"}):
            path.write_text(json.dumps(wrong))
            with pytest.raises(FormatError, match=r"toolchains\.json"):
                load_toolchain_log(folder)

    def test_a_changed_header(self, folder):
        path = folder / "toolchains.json"
        path.write_text(path.read_text().replace("somebody", "somebodz"))
        with pytest.raises(FormatError, match=r"toolchains\.json: damaged, its SHA-256 is not the one that it holds"):
            load_toolchain_log(folder)

    def test_a_flipped_bit_in_a_part(self, folder):
        path = folder / "part-000000.npy"
        content = bytearray(path.read_bytes())
        content[500] ^= 1
        path.write_bytes(content)
        log = load_toolchain_log(folder)
        with pytest.raises(FormatError, match=r"part-000000\.npy: damaged, its SHA-256 is not the one that it holds"):
            log[:1]

    def test_a_log_of_version_0_1_has_no_checksums(self, folder):
        part = np.load(folder / "part-000000.npy")
        np.save(folder / "part-000000.npy", part)
        content = json.loads((folder / "toolchains.json").read_text())
        (folder / "toolchains.json").write_text(json.dumps({key: content[key] for key in content if key != "sha256"}))
        assert np.array_equal(load_toolchain_log(folder)[:].chain, some(4).chain)
        with ToolchainLogWriter(folder, HEADER) as log:
            log.add(some(2, 1))
        assert np.array_equal(load_toolchain_log(folder)[4:].chain, some(2, 1).chain)

    def test_a_part_is_compared_with_its_checksum_once(self, folder, monkeypatch):
        checked, check = [], module.check_checksum
        monkeypatch.setattr(module, "check_checksum", lambda path: checked.append(path) or check(path))
        monkeypatch.setattr(module, "OPEN_PARTS", 1)
        with ToolchainLogWriter(folder, HEADER) as log:
            log.add(some(4, 1))
        log = load_toolchain_log(folder)
        for row in (0, 5, 1, 6):
            log[[row]]
        assert len(checked) == 2


class TestRecordToolchains:
    @pytest.fixture
    def env(self, photos, function_toolbox, tmp_path):
        env = gym.make("ImageRestore-v1", images=photos, toolbox=function_toolbox, patch_size=32)
        return RecordToolchains(env, tmp_path / "log", "me")

    def test_what_an_agent_did_can_be_replayed(self, env, function_toolbox, tmp_path):
        chains, ends, blurs = [(1, 0, 2), (0, 3), (3,)], [], []
        with env:
            for seed, chain in enumerate(chains):
                env.reset(seed=seed)
                for action in chain:
                    *_, info = env.step(action)
                ends.append(info["psnr"])
                blurs.append(info["blur_sigma"])
        log = load_toolchain_log(tmp_path / "log")
        assert (log.header.policy, log.header.toolbox) == ("me", "functions")
        assert log.header.actions == (*function_toolbox.names, "stop")
        found = log[:]
        assert found.chain.tolist() == [[1, 0, 2], [0, -1, -1], [-1, -1, -1]]
        assert [distortion["blur_sigma"] for distortion in found.distortions] == blurs
        batch = RestorationBatch(function_toolbox)
        batch.start(images_to_tensor(found.distorted), images_to_tensor(found.reference))
        for step in range(3):
            actions = np.where(found.chain[:, step] < 0, 3, found.chain[:, step])
            batch.step(actions)
        assert batch.psnr.tolist() == ends

    def test_an_episode_that_is_not_finished_is_left_out(self, env, tmp_path):
        env.reset(seed=0)
        env.step(0)
        env.reset()
        env.step(3)
        env.close()
        assert load_toolchain_log(tmp_path / "log")[:].chain.tolist() == [[-1, -1, -1]]

    def test_a_buffer_of_the_caller_may_be_used_again(self, env, photos, tmp_path):
        given = [photo[:32, :32] for photo in photos]
        buffer = np.empty_like(given[0])
        with env:
            for patch in given:
                buffer[:] = patch
                env.reset(options={"distorted": buffer, "reference": buffer})
                env.step(0)
                buffer[:] = 0
                env.step(3)
        found = load_toolchain_log(tmp_path / "log")[:]
        assert np.array_equal(found.distorted, given) and np.array_equal(found.reference, given)

    def test_another_environment_is_refused(self, tmp_path):
        with pytest.raises(TypeError, match="is no ImageRestoreEnv"):
            RecordToolchains(gym.make("CartPole-v1"), tmp_path / "log")


def test_two_writers_of_one_log_lose_nothing(tmp_path):
    writers = [ToolchainLogWriter(tmp_path / "log", HEADER) for _ in range(2)]
    for seed in range(3):
        for number, writer in enumerate(writers):
            writer.add(some(3, 10 * number + seed))
    for writer in writers:
        writer.flush()
        assert len(writer) == 9
    found = load_toolchain_log(tmp_path / "log")[:]
    expected = {some(3, 10 * number + seed).distorted.tobytes() for number in range(2) for seed in range(3)}
    assert len(found.chain) == 18
    assert {image.tobytes() for image in found.distorted} == {
        image.tobytes() for images in expected for image in np.frombuffer(images, np.uint8).reshape(3, -1)
    }


def test_a_writer_does_not_wait_for_ever(tmp_path, monkeypatch):
    log = ToolchainLogWriter(tmp_path / "log", HEADER)
    log.add(some(2))
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / "log" / module.LOCK), pytest.raises(ValueError, match="another program has been writing"):
        log.flush()
    log.flush()
    assert len(load_toolchain_log(tmp_path / "log")) == 2

"""Each example for a library runs as its user would run it, if its packages are installed, as in `make examples`."""

import re

import pytest
from examples_runner import ROOT, need, output_of, run

STEPS = 500


def numbers(pattern: str, text: str) -> list[float]:
    """Return the numbers that a pattern's groups find in a text."""
    found = re.search(pattern, text)
    assert found, text
    return [float(group) for group in found.groups()]


@pytest.mark.slow
def test_gymnasium_wrappers():
    need("moviepy", "array_api_compat")
    printed = output_of("gymnasium_wrappers.py", "--steps", STEPS)
    episodes, gain, videos = numbers(r"one: \(3, 63, 63, 3\), (\d+) episodes, (\S+) dB, (\d+) video", printed)
    assert episodes >= STEPS // 10 and videos == 1 and 0 < gain < 10  # the statistics keep the last hundred episodes
    episodes, gain = numbers(r"many: torch.uint8 \(16, 63, 63, 3\), (\d+) episodes, (\S+) dB", printed)
    assert episodes >= STEPS // 4 and 0 < gain < 10  # a reset takes a step in the mode "NextStep"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_sb3_algorithms():
    need("sb3_contrib")
    printed = output_of("sb3_algorithms.py", "--steps", STEPS)
    for name in ("DQN", "QR-DQN", "PPO", "Maskable PPO", "Recurrent PPO", "PPO on stacked images"):
        steps, gain = numbers(rf"(?m)^{name}: (\d+) steps, (\S+) dB$", printed)
        assert steps >= STEPS and abs(gain) < 10


@pytest.mark.slow
def test_rl_zoo3(tmp_path):
    need("rl_zoo3")
    words = ["-m", "rl_zoo3.train", "--algo", "ppo_lstm", "--env", "ImageRestore-v1", "--gym-packages", "restore_env"]
    words += ["--conf-file", ROOT / "examples" / "rl_zoo3.yml", "-n", STEPS, "--log-folder", tmp_path]
    printed = run([*words, "--eval-freq", -1])
    assert numbers(r"total_timesteps +\| (\d+)", printed)[0] >= STEPS // 2
    assert list(tmp_path.rglob("ImageRestore-v1.zip"))


def test_cleanrl_dqn():
    need("tyro")
    steps, _, gain = numbers(r"(\d+) steps, loss (\S+), the last episodes gained (\S+) dB", output_of("cleanrl_dqn.py"))
    assert steps >= STEPS and 1 < gain < 10


@pytest.mark.slow
def test_tianshou_dqn():
    need("tianshou")
    printed = output_of("tianshou_dqn.py", "--steps", 600)
    steps, gain = numbers(r"(\d+) steps, the best test gained (\S+) dB", printed)
    assert steps >= STEPS and 1 < gain < 10
    assert "psnr (2000,), toolchain (2000, 3)" in printed


@pytest.mark.slow
def test_torchrl_drqn():
    need("torchrl")
    printed = output_of("torchrl_drqn.py", "--steps", 600)
    steps, _, psnr, _ = numbers(r"(\d+) steps: (\S+) dB a step, (\S+) dB, loss (\S+)\n$", printed)
    assert steps >= STEPS and 15 < psnr < 40


@pytest.mark.slow
def test_minari_cloning():
    need("minari", "h5py")
    printed = output_of("minari_cloning.py", "--steps", STEPS)
    episodes, steps = numbers(r"(\d+) episodes, (\d+) steps, infos: .*psnr, reference", printed)
    first, last = numbers(r"(?s)update 0: loss (\S+).*update 99: loss (\S+)", printed)
    assert episodes == STEPS // 2 and steps >= STEPS and last < 0.8 * first


def test_pandas_tables():
    need("pandas")
    printed = output_of("pandas_tables.py", "--steps", 50)
    count, gain = numbers(r"count .* (\S+)\nmean .* (\S+)\n", printed)
    assert count == 16 and gain > 2
    assert "noise_sigma" in printed and re.search(r"(?m)^(blur|noise|jpeg|refine)-\d ", printed)


@pytest.mark.slow
def test_digits_reward():
    need("sklearn", "stable_baselines3")
    printed = output_of("digits_reward.py", "--steps", STEPS)
    read = {
        name: numbers(rf"(?m)^{name}: (\S+)% of the digits are read, PSNR (\S+) dB$", printed)
        for name in ("stop", "dqn")
    }
    assert read["dqn"][0] > read["stop"][0] > 50 and read["stop"][1] == pytest.approx(20, abs=1)

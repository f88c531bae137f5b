"""The algorithms of Stable-Baselines3 and SB3-Contrib on the batched environment.

pip install sb3-contrib
python examples/sb3_algorithms.py --steps 500
"""

from argparse import ArgumentParser

from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor

from restore_env import SB3VecEnv

REPLAY = {"buffer_size": 1_000, "learning_starts": 100}  # a step takes 24 kB, so SB3's 1,000,000 steps take 24 GB
ROLLOUT = {"n_steps": 16, "batch_size": 64}
ALGORITHMS = {
    "DQN": (DQN, "MultiInputPolicy", REPLAY),
    "QR-DQN": (QRDQN, "MultiInputPolicy", REPLAY),
    "PPO": (PPO, "MultiInputPolicy", ROLLOUT),
    "Maskable PPO": (MaskablePPO, "MultiInputPolicy", ROLLOUT),
    "Recurrent PPO": (RecurrentPPO, "MultiInputLstmPolicy", ROLLOUT),
}


def main(steps: int) -> None:
    """Train each algorithm, and print the mean gain of an episode."""
    # SB3 adds the value of later steps at a truncation. Agents without memory have to see the step.
    envs = VecMonitor(SB3VecEnv(8, time_limit="terminate", include_step=True))
    for name, (algorithm, policy, options) in ALGORITHMS.items():
        model = algorithm(policy, envs, seed=0, **options).learn(steps)
        gain, _ = evaluate_policy(model, envs, n_eval_episodes=16)
        print(f"{name}: {model.num_timesteps} steps, {gain:+.2f} dB")
    frames = VecMonitor(VecFrameStack(SB3VecEnv(8, time_limit="terminate", observation="image"), 3))
    model = PPO("CnnPolicy", frames, seed=0, **ROLLOUT).learn(steps)
    gain, _ = evaluate_policy(model, frames, n_eval_episodes=16)
    print(f"PPO on stacked images: {model.num_timesteps} steps, {gain:+.2f} dB")


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    main(parser.parse_args().steps)

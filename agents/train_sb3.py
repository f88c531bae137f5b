"""Train an agent of Stable-Baselines3 on a toolbox.

    python -m agents.train_sb3 --algo ppo --photos photos/ --output agent.zip

Stopped at any moment, the same command goes on from the last checkpoint. SB3's files hold pickled objects: loading one
runs whatever code its author put in, so load only files you trust.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import tyro
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecMonitor

from agents.data import digest_of_source, draw_validation, sources
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs
from restore_env.envs.sb3_vec_env import SB3VecEnv
from restore_env.evaluation import evaluate, share_of_best
from restore_env.policies.sb3_policy import ALGORITHMS, PaperExtractor, SB3Policy
from restore_env.restoration.rewards import Transition, step_psnr
from restore_env.toolbox import load_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.fingerprints import digest_of_pairs
from restore_env.training.logging import History, scalars_of
from restore_env.training.model_card import made_with
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import check_choice, check_device, check_whole
from restore_env.utils.files import make_folders, replacing
from restore_env.utils.serialization import write_json

BELS: Final = 0.1
"""Rewards are in dB over 10: SB3's losses and clipped values suit rewards of about 1."""

_VALUE_BASED: Final = {
    "learning_starts": 1_000,
    "target_update_interval": 1_000,
    "gamma": 0.99,
    "exploration_fraction": 0.5,
}
STEPS_PER_UPDATE: Final = 4
"""Of dqn and qrdqn, as in the authors' program."""

_ON_POLICY: Final = {"n_steps": 32, "batch_size": 32, "n_epochs": 5, "gamma": 1.0, "ent_coef": 0.01}

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("dqn", "qrdqn"), _VALUE_BASED),
    **dict.fromkeys(("ppo", "maskable_ppo", "recurrent_ppo"), _ON_POLICY),
}
"""What differs from SB3's own defaults, which are made for longer episodes, beside a learning rate that falls."""


@dataclass
class Args:
    """Train an agent of Stable-Baselines3 on a toolbox."""

    photos: str
    """Folder of clean photos to train on, a pairs file (.npz), or "embedded"."""
    output: Path
    """File to write, ending in .zip, the agent that was best where it was measured; loading such a file can run code,
    so share it with a warning. A record of the training is written beside it, ending in .json."""
    algo: str = "ppo"
    """dqn, qrdqn, ppo, maskable_ppo or recurrent_ppo."""
    validation: str = ""
    """Folder of other clean photos, or a pairs file, to measure on; by default every tenth of the training photos is
    kept aside."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    singles: float = 0.0
    """Share of training patches with a single distortion, those that the tools are made for."""
    steps: int = 100_000
    """Steps of the environment."""
    envs: int = 32
    """Environments side by side."""
    buffer_size: int = 50_000
    """Steps that dqn and qrdqn remember, 23.8 kB each."""
    learning_rate: float = 5e-4
    """At the start; it falls to zero over all steps."""
    max_steps: int = MAX_STEPS
    """Tools in a toolchain at most."""
    patches: int = 256
    """Patches to measure on."""
    oracle: int = 0
    """Of those, how many are also restored by trying every toolchain, once, to know the share of the best gain."""
    every: int = 5_000
    """Steps between two checkpoints, at which the agent is also measured."""
    device: str = "cpu"
    """Where the agent computes: cpu or cuda. The tools compute there too."""
    seed: int = 0
    """Seed of the first weights and of all that is drawn."""
    checkpoints: Path | None = None
    """Where the checkpoint, history.json and TensorBoard files are kept, in a folder for each algorithm; by default
    runs/ and the output's name."""


def main(args: Args) -> SB3Policy:
    """Train, write the file of the best agent, and return it as a policy.

    Raises:
        Stopped: when SIGINT or SIGTERM came; what was learnt is in the checkpoint.
        ValueError: if an option cannot be.
    """
    check(args)
    training, validation = sources(args.photos, args.validation, args.severity, args.singles)
    pairs = draw_validation(validation, args.patches)
    toolbox = load_toolbox(args.toolbox, args.device)
    environments = SB3VecEnv(
        args.envs,
        images=training,
        toolbox=toolbox,
        max_steps=args.max_steps,
        time_limit="terminate",
        include_step=args.algo != "recurrent_ppo",  # the others remember nothing
        reward=in_bels,
        device=args.device,
    )
    settings = settings_of(args, f"{digest_of_source(training) or args.photos} {digest_of_toolbox(toolbox)}", pairs)
    model = new_model(args, VecMonitor(environments), settings)
    model.policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
    model.action_names = list(toolbox.action_names)  # type: ignore[attr-defined]
    best = None
    if args.oracle:
        best = oracle_of(pairs.first(args.oracle), toolbox, folder_of(args), args.max_steps, args.device)

    def measure(model: BaseAlgorithm) -> dict[str, float]:
        policy = SB3Policy(model, args.output.stem)
        found = evaluate(pairs, policy, toolbox, max_steps=args.max_steps, device=args.device)
        share = {"validation/share_of_oracle": share_of_best(found, best)} if best else {}
        return scalars_of(found) | share

    with stop_request() as request:
        left = max(0, args.steps - model.num_timesteps)
        if left:
            history = History(folder_of(args), model.num_timesteps)
            keeper = Keeper(measure, history, lambda better: save(model, args, better), request, args.every)
            model.learn(left, keeper, tb_log_name=args.algo, reset_num_timesteps=model.num_timesteps == 0)
            if model.num_timesteps < args.steps:
                save(model, args)
                request.check()
            if history.last < model.num_timesteps:
                keeper.look()
    environments.close()
    chosen = ALGORITHMS[args.algo].load(best_of(args), device=args.device)
    chosen.policy.optimizer.state.clear()  # who acts needs neither this nor the last images that it saw
    with replacing(args.output) as temporary:
        chosen.save(temporary, exclude=["_last_obs", "_last_original_obs"])
    result = measure(chosen)
    print(f"{args.output}: gain {result['validation/gain']:.3f} dB on {len(pairs)} patches", file=sys.stderr)
    record = {"algo": args.algo, "steps": model.num_timesteps, "best_after": chosen.num_timesteps}
    names = {"photos": args.photos, "toolbox": toolbox.name}
    write_json(args.output.with_suffix(".json"), record | names | settings | made_with(args.device) | result)
    return SB3Policy(chosen, args.output.stem)


def in_bels(step: Transition) -> Any:
    """The PSNR's rise in dB, over 10."""
    return BELS * step_psnr(step)


class Keeper(BaseCallback):
    """Measures and saves an agent every so many steps, and ends its training when it is told to.

    Args:
        measure: returns how good it is.
        history: where that is written.
        save: writes the checkpoint, and the agent as the best if it is better than all before.
        stopping: whether to end.
        every: steps.
    """

    def __init__(
        self,
        measure: Callable[[BaseAlgorithm], dict[str, float]],
        history: History,
        save: Callable[[bool], None],
        stopping: Callable[[], bool],
        every: int,
    ) -> None:
        super().__init__()
        self.measure, self.history, self.keep, self.stopping, self.every = measure, history, save, stopping, every

    def _on_training_start(self) -> None:
        self._next = self.num_timesteps + self.every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self.every
            self.look()
        return not self.stopping()

    def look(self) -> None:
        """Measure the agent, write down what was found, and save it."""
        found, steps = self.measure(self.model), self.model.num_timesteps
        for name, value in found.items():
            self.model.logger.record(name, value)
        self.model.logger.dump(steps)
        gain, before = found["validation/gain"], [item["validation/gain"] for item in self.history.entries]
        print(f"{steps} steps, gain {gain:.3f} dB, {found['validation/tools']:.2f} tools", file=sys.stderr)
        self.keep(gain > max(before, default=float("-inf")))
        self.history.add(steps, found)  # last: what is in the history has been kept


def check(args: Args) -> None:
    """Raise a `ValueError` if an option cannot be."""
    check_choice("algo", args.algo, ALGORITHMS)
    for name in ("steps", "envs", "buffer_size", "patches", "every", "max_steps"):
        check_whole(name, getattr(args, name), 1)
    for name in ("seed", "oracle"):
        check_whole(name, getattr(args, name), 0)
    if not 0 <= args.singles <= 1:
        raise ValueError(f"singles={args.singles} is not between 0 and 1")
    if not args.learning_rate > 0:
        raise ValueError(f"learning_rate={args.learning_rate} is not more than 0")
    as_distortion(args.severity)
    check_device(args.device)
    if args.output.suffix != ".zip":
        raise ValueError(f"output={str(args.output)!r} does not end in .zip")
    make_folders(args.output.resolve().parent, folder_of(args))


def new_model(args: Args, environments: VecMonitor, settings: dict[str, Any]) -> BaseAlgorithm:
    """The agent, from its checkpoint if there is one."""
    algorithm = ALGORITHMS[args.algo]
    kept = checkpoint_of(args)
    if kept.exists():
        model = algorithm.load(kept, device=args.device)
        check_settings(getattr(model, "settings", {}), settings, kept)
        model.set_env(environments)
        # Loading begins the random numbers anew, and the same pairs would come again.
        model.set_random_seed(args.seed + model.num_timesteps)
        if isinstance(model, OffPolicyAlgorithm):
            load_memory(model, buffer_of(args), kept)
        return model
    options: dict[str, Any] = dict(DEFAULTS[args.algo])
    options["learning_rate"] = LinearSchedule(args.learning_rate, 0.0, 1.0)
    if issubclass(algorithm, OffPolicyAlgorithm):
        # SB3 counts a step of all environments once, and draws an update for each `train_freq` of those.
        options |= {"train_freq": 1, "gradient_steps": max(1, args.envs // STEPS_PER_UPDATE)}
        options["buffer_size"] = args.buffer_size
    model = algorithm(
        "MultiInputLstmPolicy" if args.algo == "recurrent_ppo" else "MultiInputPolicy",
        environments,
        policy_kwargs={
            "features_extractor_class": PaperExtractor,
            "features_extractor_kwargs": {"centred": True, "statistics": True},
        },
        tensorboard_log=str(folder_of(args) / "tensorboard"),
        seed=args.seed,
        device=args.device,
        **options,
    )
    model.settings = settings  # type: ignore[attr-defined]
    return model


def load_memory(model: OffPolicyAlgorithm, file: Path, checkpoint: Path) -> None:
    """Give a value-based agent what it remembered; raise a `ValueError` if that is missing or damaged."""
    try:
        with file.open("rb") as content:  # SB3 leaves a file open where unpickling fails
            model.load_replay_buffer(content)
    except Exception as error:  # unpickling raises almost anything
        raise ValueError(
            f"{file}: what belongs to {checkpoint} is missing or damaged; delete that to start afresh"
        ) from error


def settings_of(args: Args, data: str, validation: Pairs) -> dict[str, Any]:
    """What must be the same for a training to go on; `data` stands for photos and tools."""
    kept = ("severity", "singles", "envs", "buffer_size", "learning_rate", "max_steps", "seed")
    return {
        **{name: getattr(args, name) for name in kept},
        "photos or tools": data,
        "validation": digest_of_pairs(validation),
        "setting of the algorithm": DEFAULTS[args.algo],
    }


def check_settings(before: dict[str, Any], now: dict[str, Any], file: Path) -> None:
    """Raise a `ValueError` if a checkpoint belongs to another training."""
    differing = [name for name, value in now.items() if before.get(name) != value]
    if differing:
        raise ValueError(
            f"{file}: belongs to a training with another {differing[0]}; delete it to start afresh, or choose another "
            "folder of checkpoints"
        )


def save(model: BaseAlgorithm, args: Args, better: bool = False) -> None:
    """Write the checkpoint, complete or not at all, and the agent as the best if it is `better` than all before."""
    if better:
        with replacing(best_of(args)) as temporary:
            model.save(temporary)
    if isinstance(model, OffPolicyAlgorithm):
        with replacing(buffer_of(args)) as temporary:
            model.save_replay_buffer(temporary)
    with replacing(checkpoint_of(args)) as temporary:
        model.save(temporary)


def checkpoint_of(args: Args) -> Path:
    """The agent's checkpoint."""
    return folder_of(args) / "checkpoint.zip"


def best_of(args: Args) -> Path:
    """The agent that was best where it was measured."""
    return folder_of(args) / "best.zip"


def buffer_of(args: Args) -> Path:
    """The checkpoint of what a value-based agent remembers."""
    return folder_of(args) / "memory.pkl"


def folder_of(args: Args) -> Path:
    """Where all that belongs to an unfinished training is kept."""
    return (args.checkpoints or Path("runs") / args.output.resolve().stem) / args.algo


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""Train an agent of Stable-Baselines3 on a toolbox.

    python -m agents.train_sb3 --algo ppo --photos photos/ --output agent.zip

You can stop the program at any moment; the same command resumes from the last checkpoint. SB3's files contain pickled
objects. Loading one runs any code that its author put in, so load only files you trust.
"""

import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any, Final, Literal

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor

from agents.data import AgentArgs, AgentData, open_data
from restore_env import SB3VecEnv, Toolbox, load_toolbox
from restore_env.constants import PATCH_SIZE
from restore_env.errors import FormatError
from restore_env.evaluation import Evaluation, evaluate, share_of_best
from restore_env.policies.sb3_policy import ALGORITHMS, CHANNELS, PaperExtractor, SB3Policy
from restore_env.restoration.rewards import Weighted, as_reward
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.fingerprints import digest_of_pairs
from restore_env.training.logging import RunLogger, scalars_of
from restore_env.training.model_card import made_with
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import check_run, make_run_folder, run_program
from restore_env.training.reward_guard import RewardGuard
from restore_env.training.signals import StopRequest, stop_request
from restore_env.training.trainer import Status, check_settings
from restore_env.utils.checks import Count, Fraction, Positive
from restore_env.utils.checksums import add_checksum, check_checksum
from restore_env.utils.files import replacing
from restore_env.utils.serialization import write_json

CHECKPOINT: Final = "checkpoint.zip"
BEST: Final = "best.zip"
"""File of the agent that was best so far."""

REPLAY_BUFFER: Final = "memory.pkl"
"""File of a value-based agent's replay buffer; the name stays so that runs of earlier versions resume."""

BELS: Final = 0.1
"""Factor on rewards, which are in dB: SB3's losses and clipped values suit rewards of about 1."""

STEPS_PER_UPDATE: Final = 4
"""Steps of dqn and qrdqn for each update, as in the authors' program."""

_VALUE_BASED: Final = {
    "learning_starts": 1_000,
    "target_update_interval": 1_000,
    "gamma": 0.99,
    "exploration_fraction": 0.5,
}
_ON_POLICY: Final = {"n_steps": 32, "batch_size": 32, "n_epochs": 5, "gamma": 1.0, "ent_coef": 0.01}

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("dqn", "qrdqn"), _VALUE_BASED),
    **dict.fromkeys(("ppo", "maskable_ppo", "recurrent_ppo"), _ON_POLICY),
}
"""Hyperparameters that differ from SB3's defaults, which suit longer episodes. The learning rate falls, too."""


SETTINGS: Final = (
    *("severity", "single_distortion_fraction", "n_envs", "buffer_size", "learning_rate"),
    *("patch_size", "observation", "reward", "max_steps", "seed"),
)
"""Options that must be the same for a training to resume."""

EARLIER_SETTINGS: Final = {"patch_size": PATCH_SIZE, "observation": "dict", "reward": "step_psnr"}
"""Settings of the trainings whose checkpoints do not name them."""


@dataclass(kw_only=True)
class Args(AgentArgs):
    """Train an agent of Stable-Baselines3 on a toolbox.

    Raises:
        ValueError: if an option is outside its range.
    """

    output: Path
    """File to write (.zip), with a record beside it (.json). Loading a .zip can run code: share it with a warning."""
    algo: Literal["dqn", "qrdqn", "ppo", "maskable_ppo", "recurrent_ppo"] = "ppo"
    """Algorithm of SB3 or SB3-Contrib."""
    observation: Literal["dict", "image"] = "dict"
    """dict: the image, the previous action and, without a memory, the step. image: the last images alone, stacked."""
    single_distortion_fraction: Fraction = 0.0
    """Fraction of training patches with one distortion only (blur, noise or JPEG). Not with a pairs file."""
    steps: Count = 100_000
    """Steps of the environment."""
    n_envs: Count = 32
    """Environments in parallel."""
    buffer_size: Count = 50_000
    """Steps that the replay buffer of dqn and qrdqn holds, 23.8 kB each, times --max-steps if images are stacked."""
    learning_rate: Positive = 5e-4
    """Learning rate at the start; it falls linearly to zero over all steps."""
    every: Count = 5_000
    """Steps between two checkpoints, at which the agent is also measured."""
    checkpoints: Path | None = None
    """Folder of checkpoint and logs, in a folder for each algorithm; by default runs/ and the output's name."""

    @property
    def stacks(self) -> bool:
        """Whether the agent sees a stack of images: it has no memory, and images are all that it observes."""
        return self.observation == "image" and self.algo != "recurrent_ppo"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that is ready to run.

    Attributes:
        args: the options.
        folder: folder of all that belongs to the unfinished training.
        toolbox: the tools.
        data: where episodes begin, and the pairs to measure on.
        oracle: results of the best toolchains on the first of these pairs; None if not asked for.
        settings: what must be the same for the training to resume.
    """

    args: Args
    folder: Path
    toolbox: Toolbox
    data: AgentData
    oracle: Evaluation | None
    settings: dict[str, Any]


def main(args: Args) -> SB3Policy:
    """Train, write the file of the best agent, and return it as a policy.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the checkpoint holds the training.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open and draw all that a training needs, and make its folders."""
    if args.output.suffix != ".zip":
        raise ValueError(f"output={str(args.output)!r} does not end in .zip")
    if args.stacks and CHANNELS * args.max_steps >= args.patch_size:  # SB3 would take the rows for the channels
        most = (args.patch_size - 1) // CHANNELS
        size, steps = args.patch_size, args.max_steps
        raise ValueError(f"max_steps={steps}: with patch_size={size} at most {most} images can be stacked")
    check_run(args.inputs, args.output, args.checkpoints, args.algo)
    toolbox = load_toolbox(args.toolbox, args.device, trust=args.trust)
    fraction = args.single_distortion_fraction
    data = open_data(args.photos, args.validation, args.severity, args.patches, fraction, args.patch_size)
    folder = make_run_folder(args.output, args.checkpoints, args.algo)
    settings = {name: getattr(args, name) for name in SETTINGS} | {
        "photos or tools": f"{data.identity} {digest_of_toolbox(toolbox)}",
        "validation": digest_of_pairs(data.validation),
        "setting of the algorithm": DEFAULTS[args.algo],
    }
    oracle = None
    if args.oracle:
        oracle = oracle_of(data.validation.first(args.oracle), toolbox, folder, args.max_steps, args.device)
    return Plan(args=args, folder=folder, toolbox=toolbox, data=data, oracle=oracle, settings=settings)


def run(plan: Plan) -> SB3Policy:
    """Train as planned, as `main` does."""
    args, environments = plan.args, new_environments(plan)
    model = resume_model(plan, environments) if (plan.folder / CHECKPOINT).exists() else new_model(plan, environments)
    model.policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
    model.action_names = list(plan.toolbox.action_names)  # type: ignore[attr-defined]
    with stop_request() as request:
        if model.num_timesteps < args.steps:
            train(model, plan, request)
    environments.close()
    chosen = load_model(plan, BEST)
    chosen.policy.optimizer.state.clear()  # an agent that only acts needs neither this nor the last images
    write_agent(args.output, chosen, exclude=("_last_obs", "_last_original_obs"))
    result = measure(chosen, plan)
    n = len(plan.data.validation)
    print(f"{args.output}: gain {result['validation/gain']:.3f} dB on {n} patches", file=sys.stderr)
    record = {"algo": args.algo, "steps": model.num_timesteps, "best_after": chosen.num_timesteps}
    names = {"photos": args.photos, "toolbox": plan.toolbox.name}
    write_json(args.output.with_suffix(".json"), record | names | plan.settings | made_with(args.device) | result)
    return SB3Policy(chosen, args.output.stem)


def train(model: BaseAlgorithm, plan: Plan, request: StopRequest) -> None:
    """Train an agent for the steps that are left, or until a signal comes."""
    done, steps = model.num_timesteps, plan.args.steps
    with RunLogger(plan.folder, done) as log:
        guard = RewardGuard(as_reward(plan.args.reward), plan.data.validation, plan.toolbox, plan.args.device, log)
        callback = EvaluationCallback(plan, log, guard.report, request)
        model.learn(steps - done, callback, tb_log_name=plan.args.algo, reset_num_timesteps=done == 0)
        if model.num_timesteps < steps:
            save(model, plan)
            request.check()
        if log.last < model.num_timesteps:
            callback.evaluate()


def new_environments(plan: Plan) -> VecMonitor:
    """Return the environments to train in."""
    args = plan.args
    environments: VecEnv = SB3VecEnv(
        args.n_envs,
        images=plan.data.source,
        toolbox=plan.toolbox,
        patch_size=args.patch_size,
        max_steps=args.max_steps,
        time_limit="terminate",
        include_step=args.observation == "dict" and args.algo != "recurrent_ppo",  # the others have no memory
        observation=args.observation,
        reward=Weighted({args.reward: BELS}),
        device=args.device,
    )
    if args.stacks:  # how many images are still black shows the step
        environments = VecFrameStack(environments, args.max_steps, channels_order="last")
    return VecMonitor(environments)


def measure(model: BaseAlgorithm, plan: Plan) -> dict[str, float]:
    """Return the scalars of an agent on the validation pairs."""
    policy, pairs = SB3Policy(model, plan.args.output.stem), plan.data.validation
    options: dict[str, Any] = {name: getattr(plan.args, name) for name in ("max_steps", "reward", "device")}
    found = evaluate(pairs, policy, plan.toolbox, **options)
    share = {"validation/share_of_oracle": share_of_best(found, plan.oracle)} if plan.oracle else {}
    return scalars_of(found) | share


class EvaluationCallback(BaseCallback):
    """Measures and saves an agent every so many steps, and ends its training on request.

    Args:
        plan: the training.
        log: has the measurements so far.
        report: receives the measurements.
        stopping: returns whether to end.
    """

    def __init__(
        self, plan: Plan, log: RunLogger, report: Callable[[Status], None], stopping: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.plan, self.log, self.report, self.stopping = plan, log, report, stopping

    def _on_training_start(self) -> None:
        self._next = self.num_timesteps + self.plan.args.every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self.plan.args.every
            self.evaluate()
        return not self.stopping()

    def evaluate(self) -> None:
        """Measure the agent, save it, and log the result."""
        found, steps = measure(self.model, self.plan), self.model.num_timesteps
        gain, best = found["validation/gain"], getattr(self.model, "best_gain", -inf)
        best = max([best, *(entry["validation/gain"] for entry in self.log.entries)])
        self.model.best_gain = max(gain, best)  # type: ignore[attr-defined]  # SB3 saves all attributes
        save(self.model, self.plan, gain > best)
        # Logged last: an agent that the history names has been saved.
        line = f"{steps} steps, gain {gain:.3f} dB, {found['validation/tools']:.2f} tools"
        self.report(Status(steps, line, found))


def new_model(plan: Plan, environments: VecMonitor) -> BaseAlgorithm:
    """Return an agent with random weights."""
    args, algorithm = plan.args, ALGORITHMS[plan.args.algo]
    options: dict[str, Any] = dict(DEFAULTS[args.algo])
    if issubclass(algorithm, OffPolicyAlgorithm):
        # SB3 counts a step of all environments once, and `train_freq` counts those.
        options |= {"train_freq": 1, "gradient_steps": max(1, args.n_envs // STEPS_PER_UPDATE)}
        options["buffer_size"] = args.buffer_size
    kind = "MultiInput" if args.observation == "dict" else "Cnn"
    model = algorithm(
        f"{kind}LstmPolicy" if args.algo == "recurrent_ppo" else f"{kind}Policy",
        environments,
        learning_rate=LinearSchedule(args.learning_rate, 0.0, 1.0),
        policy_kwargs={
            "features_extractor_class": PaperExtractor,
            "features_extractor_kwargs": {"centred": True, "degradation_features": True},
        },
        tensorboard_log=str(plan.folder / "tensorboard"),
        seed=args.seed,
        device=args.device,
        **options,
    )
    model.settings = plan.settings  # type: ignore[attr-defined]
    return model


def resume_model(plan: Plan, environments: VecMonitor) -> BaseAlgorithm:
    """Return the agent from its checkpoint.

    Raises:
        ValueError: if the checkpoint belongs to another training, or its replay buffer is missing or damaged.
    """
    checkpoint, replay_buffer = plan.folder / CHECKPOINT, plan.folder / REPLAY_BUFFER
    model = load_model(plan, CHECKPOINT)
    check_settings(EARLIER_SETTINGS | getattr(model, "settings", {}), plan.settings, checkpoint)
    # The program may have been killed after the best agent was saved and before the checkpoint was.
    model.best_gain = max(getattr(model, "best_gain", -inf), gain_of(plan.folder / BEST))  # type: ignore[attr-defined]
    model.set_env(environments)
    # Loading restores the first seed, and the same pairs would come again.
    model.set_random_seed(plan.args.seed + model.num_timesteps)
    if isinstance(model, OffPolicyAlgorithm):
        try:
            check_checksum(replay_buffer)
            with replay_buffer.open("rb") as content:  # SB3 leaves a file open where unpickling fails
                model.load_replay_buffer(content)
        except Exception as error:  # unpickling raises almost anything
            raise ValueError(
                f"{replay_buffer}: what belongs to {checkpoint} is missing or damaged; delete that to start afresh"
            ) from error
    return model


def load_model(plan: Plan, name: str) -> BaseAlgorithm:
    """Return the agent from a file in the run's folder.

    Raises:
        FormatError: if the file is missing or damaged.
    """
    path = plan.folder / name
    try:
        check_checksum(path)
        return ALGORITHMS[plan.args.algo].load(path, device=plan.args.device)
    except Exception as error:  # unpickling raises almost anything
        message = f"missing, not an agent, or damaged; delete {plan.folder / CHECKPOINT} to start afresh"
        raise FormatError(f"{path}: {message}") from error


def gain_of(file: Path) -> float:
    """Return the gain in dB of the best agent from its file; minus infinity if there is none, or it does not say."""
    try:
        with zipfile.ZipFile(file) as archive:
            return float(json.loads(archive.read("data"))["best_gain"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return -inf


def save(model: BaseAlgorithm, plan: Plan, better: bool = False) -> None:
    """Write the checkpoint completely or not at all, and the agent as the best if it is `better` than all before."""
    if better:
        write_agent(plan.folder / BEST, model)
    if isinstance(model, OffPolicyAlgorithm):
        with replacing(plan.folder / REPLAY_BUFFER) as temporary:
            model.save_replay_buffer(temporary)
            add_checksum(temporary)
    write_agent(plan.folder / CHECKPOINT, model)


def write_agent(path: Path, model: BaseAlgorithm, exclude: Sequence[str] = ()) -> None:
    """Write an agent with its checksum, without some of its attributes, completely or not at all."""
    content = BytesIO()
    model.save(content, exclude=exclude)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
        add_checksum(temporary)


if __name__ == "__main__":
    run_program(main, Args)

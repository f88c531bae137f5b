"""Find the toolchain that is best on average over many distorted patches, and save it as a policy.

    python -m agents.search_toolchain --photos photos/ --output my-toolchain/

The policy does not look at the image, so an agent has to beat it.
"""

from dataclasses import dataclass
from pathlib import Path

from agents.data import PatchSize
from restore_env import Pairs, Toolbox, draw_pairs, load_toolbox
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE, Severity
from restore_env.data.distortions import as_distortion
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.policies import FixedToolchain, save_policy
from restore_env.restoration.search import best_fixed_toolchain
from restore_env.training.model_card import Blocks, settings_list, write_model_card
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import Count, Natural, Options, Steps, Text
from restore_env.utils.files import make_folders, real_path
from restore_env.utils.progress import progress_bar


@dataclass(kw_only=True)
class Args(Options):
    """Find the toolchain that is best on average over many distorted patches, and save it as a policy.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Path
    """Folder of clean photos."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: Severity = "moderate"
    """Distortion of the photos."""
    patches: Count = 128
    """Patches over which the gain is averaged."""
    patch_size: PatchSize = PATCH_SIZE
    """Height and width of these patches in pixels, 11 to 1024."""
    max_steps: Steps = MAX_STEPS
    """Largest number of tools in the toolchain; 1 finds the best single tool."""
    beam: Natural = 12
    """Width of the beam search: toolchains of each length that are extended. 0 tries every toolchain."""
    seed: Natural = 0
    """Seed of the patches."""
    licence: str = "not stated"
    """Source and licence of the photos, for the model card."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search that is ready to run.

    Attributes:
        args: the options.
        toolbox: the tools.
        pairs: the patches.
    """

    args: Args
    toolbox: Toolbox
    pairs: Pairs


def main(args: Args) -> FixedToolchain:
    """Search, write the policy folder with its model card, and return the policy.

    Raises:
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open and draw all that a search needs, and make its folder."""
    check_paths({"--photos": args.photos, "--toolbox": args.toolbox}, folders={"--output": args.output})
    source = PatchSampler(FolderPhotos(args.photos), as_distortion(args.severity), args.patch_size)
    toolbox, pairs = load_toolbox(args.toolbox), draw_pairs(source, args.patches, args.seed)
    make_folders(args.output)
    return Plan(args=args, toolbox=toolbox, pairs=pairs)


def run(plan: Plan) -> FixedToolchain:
    """Search as planned, as `main` does."""
    args = plan.args
    policy = search(plan.toolbox, plan.pairs, args.max_steps, args.beam, real_path(args.output).name)
    save_policy(policy, args.output, plan.toolbox)
    tools = ", ".join(policy.tools) or "stop at once"
    settings = {
        "photos": args.licence,
        "severity": args.severity,
        "patches": args.patches,
        "patch_size": args.patch_size,
        "toolbox": Path(args.toolbox).name,
        "max_steps": args.max_steps,
        "beam": args.beam or "none",
        "seed": args.seed,
    }
    blocks: Blocks = [
        f"# {policy.name}",
        f"A fixed toolchain for `restore_env`: {tools}.",
        "`python -m agents.search_toolchain` found that it has the highest mean gain:",
        settings_list(settings),
    ]
    write_model_card(args.output, {"settings": settings}, blocks)
    print(f"{args.output}: {tools}")
    return policy


def search(toolbox: Toolbox, pairs: Pairs, max_steps: int, beam: int, name: str) -> FixedToolchain:
    """Return the best fixed toolchain over pairs of one size, as a policy called `name`; show a progress bar.

    Args:
        toolbox: the tools.
        pairs: the pairs over which the gain is averaged.
        max_steps: largest number of tools.
        beam: width of the beam search; 0 tries every toolchain.
        name: name of the policy.
    """
    with progress_bar("trying toolchains") as progress:
        chain = best_fixed_toolchain(toolbox, *pairs.to_tensors(), max_steps, beam or None, progress)
    return FixedToolchain([toolbox[action].name for action in chain], toolbox.action_names, name)


if __name__ == "__main__":
    run_program(main, Args)

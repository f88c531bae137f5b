"""Find the toolchain that is best on average over many distorted patches, and save it as a policy.

    python -m agents.search_toolchain --photos photos/ --output my-toolchain/

It is the yardstick an agent has to beat: the best that can be done without looking at the image.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.policies import FixedToolchain, save_policy
from restore_env.restoration.search import best_fixed_toolchain
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.files import make_folders, write_text
from restore_env.utils.progress import progress_bar
from restore_env.utils.tensors import images_to_tensor


@dataclass
class Args:
    """Find the toolchain that is best on average over many distorted patches, and save it as a policy."""

    photos: Path
    """Folder of clean photos."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    patches: int = 128
    """Patches that the mean is taken over."""
    max_steps: int = MAX_STEPS
    """Tools in the toolchain at most; 1 finds the best single tool."""
    beam: int = 12
    """How many toolchains of one length are made longer; 0 tries every toolchain."""
    seed: int = 0
    """Seed of the patches."""
    licence: str = "not stated"
    """The photos' source and licence, for the folder's README."""


def main(args: Args) -> FixedToolchain:
    """Search, write the policy folder, and return the policy."""
    for name, least in (("patches", 1), ("max_steps", 1), ("beam", 0), ("seed", 0)):
        check_whole(name, getattr(args, name), least)
    make_folders(args.output)
    toolbox = load_toolbox(args.toolbox)
    pairs = draw_pairs(PatchSampler(FolderPhotos(args.photos), as_distortion(args.severity)), args.patches, args.seed)
    policy = search(toolbox, pairs, args.max_steps, args.beam, args.output.name)
    save_policy(policy, args.output, toolbox.name)
    write_card(policy, args)
    print(f"{args.output}: {', '.join(policy.tools) or 'stop at once'}")
    return policy


def write_card(policy: FixedToolchain, args: Args) -> None:
    """Write the policy folder's README.md."""
    limit = f"at most {args.max_steps} tools" if args.max_steps > 1 else "one tool"
    lines = [
        f"# {policy.name}",
        "",
        f"A fixed toolchain for `restore_env`: {', '.join(policy.tools) or 'stop at once'}.",
        "",
        f"Found by `python -m agents.search_toolchain` as the best of {limit}, on average over {args.patches} patches",
        f"of {args.severity} distortion (seed {args.seed}, beam {args.beam or 'none'}), with the toolbox "
        f"`{Path(args.toolbox).name}`.",
        "",
        f"- Photos: {args.licence}",
    ]
    write_text(args.output / "README.md", "\n".join(lines))


def search(toolbox: Toolbox, pairs: Pairs, max_steps: int, beam: int, name: str) -> FixedToolchain:
    """The best fixed toolchain over pairs of one size, as a policy called `name`; a bar shows the progress."""
    distorted, reference = (images_to_tensor(images) for images in (pairs.distorted, pairs.reference))
    with progress_bar("trying toolchains") as progress:
        chain = best_fixed_toolchain(toolbox, distorted, reference, max_steps, beam or None, progress)
    return FixedToolchain([toolbox[action].name for action in chain], toolbox.action_names, name)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""The table and the picture of `restore-env demo`."""

from collections.abc import Callable
from typing import Final

import numpy as np
from rich.table import Table

from restore_env import Evaluation, draw_pairs, evaluate, load_toolbox
from restore_env.constants import DEFAULT_POLICY, PATCH_SIZE
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import pairs_to_tensors
from restore_env.data.photos import embedded_photos
from restore_env.data.sampling import PatchSampler
from restore_env.envs.rendering import draw_panels, episode_panels
from restore_env.policies import load_policy, play
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import ByteImage

TABLE_PATCHES: Final = 4
"""Number of patches; it is small because the oracle tries 1,885 toolchains on each."""

CROP_SIZE: Final = 3 * PATCH_SIZE
"""Height and width in pixels of the crops in the picture; each crop has nine patches that vote."""

PICTURE_POLICY: Final = DEFAULT_POLICY
"""Name of the policy in the picture."""

POLICIES: Final = {
    "stop": "leaves the image as it is",
    "random": "takes random actions",
    "best-single": "applies the same tool to every image",
    "best-fixed": "applies the same toolchain to every image",
    "drqn": "the agent, a recurrent Q-network",
    "drqn-any": "an agent for photos of unknown quality",
    "greedy": "knows the reference: best next tool",
    "oracle": "knows the reference: best of all toolchains",
}
"""The policies in the table, with a note for each."""


def demo_table(severity: str, seed: int, progress: Callable[[float], None]) -> Table:
    """Measure all policies with the shipped toolbox on the same patches, and return a table."""
    tools = load_toolbox()
    pairs = draw_pairs(PatchSampler(embedded_photos(), as_distortion(severity)), TABLE_PATCHES, seed)
    title = f"{len(pairs)} patches of {PATCH_SIZE}x{PATCH_SIZE} pixels, {severity} distortion, toolbox {tools.name}"
    table = Table(title=title, caption="\n".join(f"{name}: {note}" for name, note in POLICIES.items()))
    table.caption_justify = "left"
    table.add_column("policy", no_wrap=True)
    for heading in ("PSNR\nbefore", "\nafter", "\ngain", "SSIM\nbefore", "\nafter", "\ntools", "\nseconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in POLICIES:
        table.add_row(name, *_cells(evaluate(pairs, name, tools, progress=progress)))
    return table


def demo_picture(severity: str, seed: int) -> ByteImage:
    """Restore a crop of each embedded photo with `PICTURE_POLICY`, and return a picture of all steps."""
    tools = load_toolbox()
    samplers = [PatchSampler([photo], as_distortion(severity), CROP_SIZE) for photo in embedded_photos()]
    pairs = [sampler.sample(np.random.default_rng([seed, row])) for row, sampler in enumerate(samplers)]
    batch = RestorationBatch(tools, record=True)
    batch.start(*pairs_to_tensors(pairs))
    play(load_policy(PICTURE_POLICY, tools), batch)
    return draw_panels([episode_panels(batch, row) for row in range(len(batch))])


def _cells(result: Evaluation) -> list[str]:
    """Return the numbers of a table row."""
    psnr = [f"{result.psnr_in:.2f}", f"{result.psnr_out:.2f}", f"{result.gain:+.2f}"]
    return psnr + [f"{result.ssim_in:.4f}", f"{result.ssim_out:.4f}", f"{result.steps:.2f}", f"{result.seconds:.1f}"]

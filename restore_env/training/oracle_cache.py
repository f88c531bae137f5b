"""The oracle's results on pairs, found once and kept in a file: trying every toolchain takes minutes."""

import json
from pathlib import Path

from restore_env.constants import MAX_STEPS
from restore_env.data.pairs import Pairs
from restore_env.evaluation import Evaluation, ImageResult, evaluate
from restore_env.policies import Oracle
from restore_env.toolbox import Toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.fingerprints import digest_of_pairs, digest_of_text
from restore_env.utils.files import write_text
from restore_env.utils.progress import progress_bar


def oracle_of(
    pairs: Pairs, toolbox: Toolbox, folder: Path, max_steps: int = MAX_STEPS, device: str = "cpu"
) -> Evaluation:
    """What the best toolchain of every pair reaches.

    Args:
        pairs: distorted and reference images.
        toolbox: the tools; those of equal weights have one result.
        folder: where results are kept, if all tools are networks; it cannot be told whether functions are the same.
        max_steps: tools in a toolchain at most.
        device: where to compute.
    """

    def found() -> Evaluation:
        with progress_bar("oracle") as report:
            return evaluate(pairs, Oracle(), toolbox, max_steps=max_steps, device=device, progress=report)

    if any(tool.module is None for tool in toolbox):
        return found()
    tools = (toolbox.names, digest_of_toolbox(toolbox), toolbox.dtype, max_steps)
    path = folder / f"oracle-{digest_of_text(repr((digest_of_pairs(pairs), tools)))}.json"
    if not path.exists():
        write_text(path, json.dumps(found().to_json()))
    kept = json.loads(path.read_text())
    images = [ImageResult(**image | {"toolchain": tuple(image["toolchain"])}) for image in kept["images"]]
    return Evaluation(**kept | {"images": images})

"""The oracle's results on pairs, computed once and kept in a file: to try every toolchain takes minutes."""

import json
from pathlib import Path

from restore_env.constants import MAX_STEPS
from restore_env.data.pairs import Pairs
from restore_env.errors import FormatError
from restore_env.evaluation import Evaluation, ImageResult, evaluate
from restore_env.policies import Oracle
from restore_env.toolbox import Toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.fingerprints import digest_of_pairs, digest_of_text
from restore_env.utils.checksums import with_checksum, without_checksum
from restore_env.utils.files import write_text
from restore_env.utils.progress import progress_bar


def oracle_of(
    pairs: Pairs, toolbox: Toolbox, folder: Path, max_steps: int = MAX_STEPS, device: str = "cpu"
) -> Evaluation:
    """Return what the best toolchain of every pair reaches, read from the folder if it was computed before.

    Results are kept if all tools are networks: nobody can tell whether two functions are the same.

    Args:
        pairs: distorted and reference images.
        toolbox: the tools; toolboxes of equal weights share a result.
        folder: where results are kept.
        max_steps: tools in a toolchain at most.
        device: where to compute.

    Raises:
        FormatError: if the file is damaged.
    """
    if any(tool.module is None for tool in toolbox):
        return _search(pairs, toolbox, max_steps, device)
    tools = (toolbox.names, digest_of_toolbox(toolbox), toolbox.dtype, max_steps)
    path = folder / f"oracle-{digest_of_text(repr((digest_of_pairs(pairs), tools)))}.json"
    if not path.exists():
        write_text(path, json.dumps(with_checksum(_search(pairs, toolbox, max_steps, device).to_json())))
    try:
        kept = without_checksum(json.loads(path.read_text()), path)
        images = [ImageResult(**image | {"toolchain": tuple(image["toolchain"])}) for image in kept["images"]]
        return Evaluation(**kept | {"images": images})
    except Exception as error:  # what is damaged fails anywhere, and in any way
        raise FormatError(f"{path}: damaged; delete it, and it is computed again") from error


def _search(pairs: Pairs, toolbox: Toolbox, max_steps: int, device: str) -> Evaluation:
    """Try every toolchain on every pair."""
    with progress_bar("oracle") as report:
        return evaluate(pairs, Oracle(), toolbox, max_steps=max_steps, device=device, progress=report)

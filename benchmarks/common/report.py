"""What every published result has: its numbers as JSON, a table, the command, the data, the machine."""

import json
import platform
import shlex
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from math import fsum, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from restore_env.utils.files import make_folders, write_text


def results_of(args: Any, **content: Any) -> dict[str, Any]:
    """The options of a program (a dataclass), the machine, and what was measured."""
    options = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(args).items()}
    return {"options": options, "machine": machine(), **content}


def check_output(output: Path) -> None:
    """Make the folder of results, before they cost hours.

    Raises:
        ValueError: if they would not be called .json, as what is written beside them would then replace them.
    """
    if output.suffix != ".json":
        raise ValueError(f"output={str(output)!r} does not end in .json")
    make_folders(output.resolve().parent)


def write_results(results: Mapping[str, Any], output: Path, program: str, text: str) -> None:
    """Write the results as JSON, and beside it a text as Markdown with data, command and machine added."""
    options = results["options"]
    words = [f"--{key.replace('_', '-')} {_word(value)}" for key, value in options.items() if value not in ("", [], ())]
    lines = [
        text,
        f"Data: {options['data']}.",
        f"Command: `python -m benchmarks.{program} {' '.join(words)}`",
        f"Machine: {', '.join(f'{key} {value}' for key, value in results['machine'].items())}",
    ]
    write_text(output, json.dumps(results, indent=1))
    write_text(output.with_suffix(".md"), "\n\n".join(lines))


def half_interval(values: Sequence[float], photos: Sequence[Hashable] = ()) -> float:
    """Half the width of the 95% interval of a mean.

    Args:
        values: one for each patch.
        photos: what photo each was cut from. Patches of one photo are alike, and tell less than as many of different
            photos would (the cluster-robust variance: Liang and Zeger, 1986). Without, each is its own.
    """
    mean, sums = fmean(values), defaultdict[Hashable, float](float)
    for photo, value in zip(photos or range(len(values)), values, strict=True):
        sums[photo] += value - mean
    count = len(sums)
    if count < 2:
        return float("nan")
    return 1.96 * sqrt(count / (count - 1) * fsum(item**2 for item in sums.values())) / len(values)


def mean_rise(before: Sequence[float], after: Sequence[float], photos: Sequence[Hashable] = ()) -> tuple[float, float]:
    """How much higher numbers of the same images are in the mean, and half the width of its 95% interval."""
    rises = [one - other for one, other in zip(after, before, strict=True)]
    return fmean(rises), half_interval(rises, photos)


def _word(value: Any) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list | tuple) else shlex.quote(str(value))


def machine() -> dict[str, str | int]:
    """Processor, threads and versions."""
    return {
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("restore-env", "torch", "numpy", "opencv-python-headless", "gymnasium")},
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1] for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0].strip()}, {len(names)} cores" if names else platform.machine()

"""The files that every benchmark writes: its numbers as JSON, and a report in Markdown."""

import json
import platform
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from restore_env.training.model_card import Blocks, markdown, table
from restore_env.training.program import check_paths
from restore_env.utils.files import Paths, make_folders, real_path, write_text
from restore_env.utils.progress import progress_bar

T = TypeVar("T")

Results = dict[str, Any]
"""The content of a results file: `options`, `machine` and what was measured."""


def check_output(output: Path, inputs: Mapping[str, Paths], *plots: str, work: Path | None = None) -> None:
    """Check what a benchmark reads and writes, before all work.

    Args:
        output: the results file; the report and the plots lie beside it.
        inputs: what the benchmark reads, by the names of the options.
        plots: endings of the plots' names, such as ".png".
        work: folder of unfinished work.

    Raises:
        ValueError: if the name does not end in .json: the report would then replace the results.
    """
    if output.suffix != ".json":
        raise ValueError(f"output={str(output)!r} does not end in .json")
    files = [output, *(output.with_name(f"{output.stem}{ending}") for ending in (".md", *plots))]
    check_paths(inputs, files={"--output": files}, work={"--checkpoints": work})


def track(title: str, items: Sequence[T]) -> Iterator[T]:
    """Yield the items one after the other while a bar on the terminal shows how many are done."""
    with progress_bar(title) as report:
        for number, item in enumerate(items, start=1):
            yield item
            report(number / len(items))


def write_results(program: str, args: Any, describe: Callable[[Results], Blocks], **measured: Any) -> Results:
    """Write the results file and, beside it, the report with the data, the command and the machine.

    Args:
        program: the module's name in `benchmarks`.
        args: the program's options, a dataclass with `output` and `data`.
        describe: returns the report's paragraphs and tables for the results.
        measured: what was measured, as JSON values.

    Returns:
        The results as they were written, with tuples where JSON has lists.
    """
    options = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(args).items()}
    results = {"options": options, "machine": machine(), **measured}
    blocks = [
        *describe(results),
        f"Data: {options['data']}.",
        f"Command: `{_command(program, options)}`",
        f"Machine: {', '.join(f'{key} {value}' for key, value in results['machine'].items())}",
    ]
    make_folders(real_path(args.output).parent)
    write_text(args.output, json.dumps(results, indent=1))
    write_text(args.output.with_suffix(".md"), markdown(blocks))
    return results


def table_of(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        rows: the cells of each row by the heads of their columns, which are the same in all rows.

    Example:
        >>> table_of([{"tool": "blur-1", "gain": 0.5}])
        ['| tool | gain |', '| --- | --- |', '| blur-1 | 0.5 |']
    """
    return table(list(rows[0]), [list(row.values()) for row in rows])


def machine() -> dict[str, str | int]:
    """Return the processor, the GPU, the number of threads and the versions."""
    return {
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("restore-env", "torch", "numpy", "opencv-python-headless", "gymnasium")},
    }


def _processor() -> str:
    """Return the processor's name where Linux tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()


def _command(program: str, options: dict[str, Any]) -> str:
    """Return the command line that gives these options; empty ones are left out."""
    given = {key: value for key, value in options.items() if value not in ("", [], ())}
    words = [_option(key.replace("_", "-"), value) for key, value in given.items()]
    return f"python -m benchmarks.{program} {' '.join(words)}"


def _option(name: str, value: Any) -> str:
    """Return an option as words of a shell; True and False are options without a value."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {_words(value)}"


def _words(value: Any) -> str:
    """Return the value of an option as words of a shell."""
    return shlex.join(map(str, value)) if isinstance(value, list | tuple) else shlex.quote(str(value))

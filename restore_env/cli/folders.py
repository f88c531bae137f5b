"""Jobs of many photos: which file becomes which, a journal of what is done, and several photos at once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from restore_env.errors import FormatError, ImageError, ToolError
from restore_env.utils.progress import Progress

JOURNAL: Final = "restore-env-journal.jsonl"
"""Name of the file, in the folder of the results, that says which photos are done."""


class Job(NamedTuple):
    """A photo to restore.

    Attributes:
        source: the file to read.
        target: the file to write.
    """

    source: Path
    target: Path


def find_jobs(
    inputs: Sequence[Path], output: Path | None, what: str, suffix: str | None = None, recursive: bool = False
) -> list[Job]:
    """Return what is to be read and written.

    Two files of a folder whose results would have one name, such as a.png and a.gif, become a.png and a.gif.png.

    Args:
        inputs: files, and folders that stand for the images in them.
        output: the file or folder to write; None writes beside the inputs. Results of subfolders go to subfolders.
        what: what is appended to the names of files beside the inputs; earlier results are no inputs.
        suffix: suffix of the files to write; by default that of the input, if it can be written.
        recursive: whether the images of subfolders count too.

    Raises:
        ImageError: if a folder holds no image.
        OSError: if the folder of the file to write does not exist.
    """
    from restore_env.data.image_io import WRITTEN  # noqa: PLC0415  # it imports OpenCV

    found = [entry for path in inputs for entry in _images_in(path, what, recursive)]
    many = len(inputs) > 1 or inputs[0].is_dir()
    if not (output is None or many or output.is_dir()):
        if not output.absolute().parent.is_dir():
            raise FileNotFoundError(f"{output}: the folder {str(output.parent)!r} does not exist")
        return [Job(found[0][0], output)]
    names: list[Path] = []
    for file, place in found:
        ending = suffix or (file.suffix if file.suffix.lower() in WRITTEN else ".png")
        stem = file.stem if output is not None else f"{file.stem}-{what}"
        names.append((output / place if output is not None else file.parent) / f"{stem}{ending}")
    counts = Counter(names)
    jobs = []
    for (file, _), target in zip(found, names, strict=True):
        renamed = counts[target] > 1 and file.suffix.lower() != target.suffix.lower()
        ending = f"{file.suffix}{target.suffix}"
        jobs.append(Job(file, target.with_suffix(ending) if renamed else target))
    return jobs


def _images_in(path: Path, what: str, recursive: bool) -> list[tuple[Path, Path]]:
    """Return the images that an input stands for, each with the subfolder that it lies in."""
    from restore_env.data.image_io import image_files  # noqa: PLC0415  # it imports OpenCV

    if not path.is_dir():
        return [(path, Path())]
    folders = [path]
    if recursive:
        folders += sorted(folder for folder in path.rglob("*") if folder.is_dir())
    files = [(file, folder) for folder in folders for file in image_files(folder)]
    found = [(file, folder.relative_to(path)) for file, folder in files if not file.stem.endswith(f"-{what}")]
    if not found:
        hint = "" if recursive else "; --recursive also looks in its subfolders"
        raise ImageError(f"{path}: no image in this folder{hint}")
    return found


class Journal:
    """Which photos of a job are done, one line of JSON for each, written as they are.

    Args:
        path: the file.
        settings: what the results depend on, as plain JSON values.
        resume: whether to go on with what the file says; else it begins anew.

    Raises:
        FormatError: if the file cannot be gone on with: it is no journal, or one of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.path, self._lock = path, Lock()
        self.done: dict[str, dict[str, Any]] = {}
        if resume and path.exists():
            self._read(dict(settings))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")

    def has(self, job: Job) -> bool:
        """Return whether a photo is done, has not changed since, and its result is there."""
        entry = self.done.get(str(job.source))
        return (
            entry is not None
            and entry["target"] == str(job.target)
            and entry["state"] == _state_of(job.source)
            and job.target.exists()
        )

    def add(self, job: Job, steps: list[dict[str, Any]]) -> None:
        """Write that a photo is done."""
        source = str(job.source)
        entry = {"source": source, "target": str(job.target), "state": _state_of(job.source), "steps": steps}
        with self._lock:
            self.done[source] = entry
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _read(self, settings: dict[str, Any]) -> None:
        """Read the entries; a last line that was cut off is dropped."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        try:
            entries = [json.loads(line) for line in whole]
            found = dict(entries[0]["settings"])
            self.done = {entry["source"]: entry for entry in entries[1:] if _state_of_entry(entry)}
        except (ValueError, LookupError, TypeError) as error:
            raise FormatError(f"{self.path}: not a journal, or damaged; delete it to start afresh") from error
        different = [name for name in settings if found.get(name) != settings[name]]
        if different:
            name = different[0]
            was, now = found.get(name), settings[name]
            raise FormatError(
                f"{self.path}: was begun with {name}={was}, not {now}; give that, or leave out --resume to start afresh"
            )
        if len(whole) < len(lines):
            self.path.write_text("".join(whole), encoding="utf-8")


def _state_of_entry(entry: Mapping[str, Any]) -> bool:
    """Return True if an entry has all that is needed; raise a `KeyError` or `TypeError` else."""
    return all(entry[name] is not None for name in ("source", "target", "state", "steps"))


def _state_of(file: Path) -> list[int]:
    """Return what changes if a file is written again: its size and its time."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def run_jobs(
    jobs: Sequence[Job],
    one: Callable[[Job, Progress], None],
    at_once: int,
    failed: Callable[[Exception], None],
    progress: Progress,
) -> int:
    """Call `one` for each job, several at once, and return how many failed.

    Args:
        jobs: the jobs.
        one: restores a photo; it may call the function that it gets with the share of the photo that is done.
        at_once: largest number of jobs at once.
        failed: called with the error of a job that failed.
        progress: called with the share of all jobs that is done.
    """
    shares = dict.fromkeys(jobs, 0.0)

    def advance(job: Job, share: float) -> None:
        shares[job] = share
        progress(sum(shares.values()) / len(jobs))

    def attempted(job: Job) -> Exception | None:
        error = attempt(lambda job: one(job, lambda share: advance(job, share)), job)
        advance(job, 1.0)
        return error

    count = 0
    for error in _outcomes(jobs, attempted, at_once):
        if error is not None:
            failed(error)
            count += 1
    return count


def _outcomes(
    jobs: Sequence[Job], attempted: Callable[[Job], Exception | None], at_once: int
) -> Iterator[Exception | None]:
    """Yield for each job that ends its error, None if there was none."""
    if at_once == 1:
        yield from map(attempted, jobs)
        return
    with ThreadPoolExecutor(at_once) as executor:
        waiting: set[Future[Exception | None]] = set()
        try:
            for job in jobs:  # photos are read only when their turn comes
                if len(waiting) == at_once:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ended)
                waiting.add(executor.submit(attempted, job))
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def attempt(one: Callable[[Job], None], job: Job) -> Exception | None:
    """Do a job and return the error that ended it, if it is one that concerns this photo alone."""
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        one(job)
    except (ImageError, ToolError, OSError, ValueError) as error:
        return error
    return None

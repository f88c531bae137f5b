"""What the page of `restore-env serve` does, without a browser: a photo for each session, and what becomes of it."""

import html
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final, NamedTuple

import numpy as np

from restore_env.cli.folders import Job, find_jobs
from restore_env.cli.one_photo import write_result
from restore_env.cli.report import as_webp, report_page, steps_html, summary
from restore_env.cli.worker import Worker
from restore_env.data.distortions import as_distortion
from restore_env.data.image_io import AnyImage, as_rgb_bytes, open_image, read_photo, why_unreadable, write_image
from restore_env.data.photo_metadata import PhotoMetadata
from restore_env.data.photos import EMBEDDED, embedded_photos
from restore_env.errors import ImageError
from restore_env.inference import Restored, blend
from restore_env.toolbox import Toolbox
from restore_env.utils.files import write_text

EXAMPLES: Final = tuple(Path(name).stem for name in EMBEDDED)
"""Names of the photos that scikit-image ships."""

EXAMPLE_SEVERITY: Final = "moderate"
"""How these are distorted."""

IDLE: Final = 3600.0
"""Seconds after which a photo that nobody touches is forgotten, though its page is open."""


REPLACED: Final = "the photo was replaced meanwhile"
"""What is said of a photo that is no longer the session's."""


class View(NamedTuple):
    """What the page shows.

    Attributes:
        message: what was done, as HTML.
        before: file with the photo, for the screen.
        after: file with what became of it, for the screen.
        steps: the steps of the policy as HTML, "" if it chose none.
        strength: how much of the change is made.
        result: the file to download.
        report: the report to download, None if the policy did nothing.
    """

    message: str
    before: Path
    after: Path
    steps: str
    strength: float
    result: Path
    report: Path | None


class Preview(NamedTuple):
    """What the page shows while a photo is restored.

    Attributes:
        message: what is done, as HTML.
        before: file with the photo, for the screen.
        after: file with the photo as it stands, for the screen.
    """

    message: str
    before: Path
    after: Path


class Change(NamedTuple):
    """A photo after a change.

    Attributes:
        image: the photo.
        tools: the tools that were applied by hand.
        restored: what the policy did; None if nothing.
    """

    image: AnyImage
    tools: tuple[str, ...] = ()
    restored: Restored | None = None


class PhotoSession:
    """A photo and its changes.

    Args:
        folder: a folder for the files that the page shows.
        source: the photo.
        largest: the largest number of megapixels.

    Raises:
        ImageError: if the photo cannot be read or is larger.
    """

    def __init__(self, folder: Path, source: Path, largest: float) -> None:
        self.folder, self.source = folder, source
        self.photo, self.metadata = _read(source, largest)
        self.changes = [Change(self.photo)]
        self.strength, self.seconds = 1.0, 0.0
        self.lock, self.touched, self._version = Lock(), time.monotonic(), 0
        self._before = folder / "screen" / "before.webp"  # the same for all versions
        self._before.parent.mkdir()
        self._before.write_bytes(as_webp(as_rgb_bytes(self.photo)))

    def restore(self, worker: Worker) -> Iterator[Preview]:
        """Let the policy restore the photo, in place of all changes so far; yield the photo as it stands meanwhile."""
        began = time.perf_counter()
        for number, found in enumerate(worker.watch(self.photo), start=1):
            if isinstance(found, Restored):
                self.seconds = time.perf_counter() - began
                self.changes = [self.changes[0], Change(found.image, (), found)]
            else:
                yield self._preview(number, found)

    def _preview(self, number: int, image: AnyImage) -> Preview:
        """Write the files that the page shows while the photo is restored, and return what it shows."""
        after = self._new_folder() / "after.webp"
        after.write_bytes(as_webp(as_rgb_bytes(blend(self.photo, image, self.strength))))
        return Preview(html.escape(f"{self.source.name}: step {number} is done ..."), self._before, after)

    def apply(self, tool: str, worker: Worker) -> None:
        """Apply a tool to the whole of the photo as it is now."""
        last = self.changes[-1]
        self.changes.append(last._replace(image=worker.restore(last.image, tool).image, tools=(*last.tools, tool)))

    def undo(self) -> None:
        """Take the last change back, if there is one."""
        if len(self.changes) > 1:
            self.changes.pop()

    def reset(self) -> None:
        """Take all changes back."""
        del self.changes[1:]

    def view(self, toolbox: Toolbox) -> View:
        """Write the files that the page shows, and return what it shows."""
        folder = self._new_folder()
        job = Job(self.source, folder / find_jobs([self.source], None, "restored")[0].target.name)
        after, last = folder / "after.webp", self.changes[-1]
        image = blend(self.photo, last.image, self.strength)
        write_result(job, self.photo, image, self.metadata)
        after.write_bytes(as_webp(as_rgb_bytes(image)))
        steps, report = "", None
        if last.restored is not None:
            made = _weakened(last.restored, self.photo, self.strength)
            steps, report = steps_html(made, toolbox), job.target.with_suffix(".html")
            write_text(report, report_page(self.source.name, self.photo, made, toolbox, self.seconds))
        return View(self._message(toolbox), self._before, after, steps, self.strength, job.target, report)

    def _new_folder(self) -> Path:
        """Make a folder for the files of the page's next version."""
        self._version += 1  # a new name for each version: browsers keep files by their names
        folder = self.folder / str(self._version)
        try:
            folder.mkdir()
        except FileNotFoundError:  # the session has been forgotten
            raise ImageError(REPLACED) from None
        shutil.rmtree(self.folder / str(self._version - 2), ignore_errors=True)  # the page may still load the last one
        return folder

    def _message(self, toolbox: Toolbox) -> str:
        last, (height, width) = self.changes[-1], self.photo.shape[:2]
        lines = [f"{self.source.name}: {width} x {height} pixels"]
        lines += [f"The photo {remark}." for remark in self.metadata.remarks]
        if last.restored is not None:
            lines.append(f"{summary(last.restored, toolbox)} ({self.seconds:.1f} s)")
        if last.tools:
            lines.append(f"By hand: {', then '.join(last.tools)}.")
        return "<br>".join(html.escape(line) for line in lines)


class Workbench:
    """Keeps the photo of each session. All of its files lie in one folder.

    Args:
        root: the folder.
        toolbox: the tools.
        worker: restores with these tools.
        largest: the largest number of megapixels of a photo.

    Attributes:
        tools: names of the tools.
    """

    def __init__(self, root: Path, toolbox: Toolbox, worker: Worker, largest: float) -> None:
        self.root, self.worker, self.largest = root, worker, largest
        self.tools = toolbox.names
        self._toolbox = toolbox
        self._sessions: dict[str, PhotoSession] = {}

    def open(self, key: str, upload: Path) -> View:
        """Begin with a photo; it is moved, and the session's photo before is forgotten.

        Args:
            key: name of the session.
            upload: the file.

        Raises:
            ImageError: if it is no photo, or too large.
        """

        def take(source: Path) -> None:
            try:
                shutil.move(upload, source)
            except FileNotFoundError:  # another session has just dropped the same photo
                raise ImageError(f"{upload.name}: got lost; drop it again") from None
            with suppress(OSError):  # Gradio makes a folder for each upload
                upload.parent.rmdir()

        return self._begin(key, upload.name, take)

    def example(self, key: str, name: str) -> View:
        """Begin with a photo of scikit-image that is distorted, as `open` does."""
        photo = embedded_photos()[EXAMPLES.index(name)]
        distorted, _ = as_distortion(EXAMPLE_SEVERITY)(photo, np.random.default_rng(0))
        return self._begin(key, f"{name}-distorted.png", lambda path: write_image(path, distorted))

    def restore(self, key: str) -> Iterator[Preview | View]:
        """Let the policy restore the photo of a session; yield what the page shows meanwhile, and lastly then."""
        session = self._session(key)
        with session.lock:
            yield from session.restore(self.worker)
            yield self._view(key, session)

    def apply(self, key: str, tool: str) -> View:
        """Apply a tool to the photo of a session.

        Raises:
            ValueError: if there is no such tool.
        """
        if tool not in self.tools:
            raise ValueError(f"{tool!r} is no tool; choose one of {', '.join(self.tools)}")
        return self._change(key, lambda session: session.apply(tool, self.worker))

    def undo(self, key: str) -> View:
        """Take the last change back."""
        return self._change(key, PhotoSession.undo)

    def reset(self, key: str) -> View:
        """Take all changes back."""
        return self._change(key, PhotoSession.reset)

    def set_strength(self, key: str, strength: float) -> View:
        """Say how much of the change is made, 0 to 1. Nothing is restored again."""
        return self._change(key, lambda session: setattr(session, "strength", strength))

    def forget(self, key: str) -> None:
        """Delete all that is kept of a session."""
        session = self._sessions.pop(key, None)
        if session is not None:
            shutil.rmtree(session.folder, ignore_errors=True)

    def _begin(self, key: str, name: str, put: Callable[[Path], object]) -> View:
        """Forget the photo of a session and all that nobody touched for long; begin with the file that `put` makes."""
        now = time.monotonic()
        for idle in [other for other, session in self._sessions.items() if now - session.touched > IDLE]:
            self.forget(idle)
        self.forget(key)
        folder = self.root / token_hex(16)
        source = folder / "photo" / name
        source.parent.mkdir(parents=True)
        try:
            put(source)
            session = PhotoSession(folder, source, self.largest)
            view = session.view(self._toolbox)
        except BaseException:
            shutil.rmtree(folder)
            raise
        self.forget(key)  # another photo may have come meanwhile
        self._sessions[key] = session
        return view

    def _change(self, key: str, change: Callable[[PhotoSession], None]) -> View:
        session = self._session(key)
        with session.lock:
            change(session)
            return self._view(key, session)

    def _session(self, key: str) -> PhotoSession:
        """Return a session that somebody touches."""
        session = self._sessions.get(key)
        if session is None:
            raise ImageError("there is no photo; drop one first")
        session.touched = time.monotonic()
        return session

    def _view(self, key: str, session: PhotoSession) -> View:
        """Return what the page shows of a session after a change."""
        if self._sessions.get(key) is not session:
            raise ImageError(REPLACED)
        return session.view(self._toolbox)


def _read(path: Path, largest: float) -> tuple[AnyImage, PhotoMetadata]:
    """Read a photo as `read_photo` does, or raise an `ImageError` if it is too large; that is known from its header."""
    try:
        with open_image(path) as image:
            width, height = image.size
        if width * height > largest * 1e6:
            found = width * height / 1e6
            raise ImageError(
                f"{width} x {height} pixels are {found:.1f} megapixels; at most {largest:g} are taken here"
            )
        return read_photo(path)
    except ImageError as error:  # the page knows the photo by its name alone
        raise ImageError(f"{path.name}: {str(error).removeprefix(f'{path}: ')}") from error
    except Exception as error:  # Pillow raises almost anything for a damaged file
        raise ImageError(f"{path.name}: {why_unreadable(error, path)}") from error


def _weakened(restored: Restored, photo: AnyImage, strength: float) -> Restored:
    """Return what `restore` would have returned with this strength."""
    image, *images = (blend(photo, each, strength) for each in (restored.image, *restored.images))
    return restored._replace(image=image, images=images)

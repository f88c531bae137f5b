"""What the page of `restore-env serve` does with photos, without a browser."""

import io
import json
import threading
import time

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image

from restore_env import Tool, Toolbox, read_image, restore, write_image
from restore_env.cli import workbench
from restore_env.cli.workbench import EXAMPLES, Preview, View, Workbench
from restore_env.cli.worker import Settings, Worker
from restore_env.data.image_io import read_photo
from restore_env.errors import ImageError, ToolError

POLICY = "fixed:up,down"
TOOLBOX = Toolbox(
    [
        Tool("up", lambda images: images + 20 / 255, "noise", (0, 12.5)),
        Tool("down", lambda images: images - 10 / 255),
        Tool("odd", lambda images: images / 0),
    ],
    "shifts",
)


class Here:
    """Stands for a worker: it restores in this process, and counts how often."""

    seconds = 60.0

    def __init__(self):
        self.count = 0

    def restore(self, image, tool=None):
        *_, found = self.watch(image, tool)
        return found

    def watch(self, image, tool=None):
        self.count += 1
        seen, policy = [], POLICY if tool is None else f"fixed:{tool}"
        found = restore(image, policy, TOOLBOX, max_steps=3, record=True, watch=seen.append)
        yield from [*seen, found]


@pytest.fixture
def worker():
    return Here()


@pytest.fixture
def bench(tmp_path, worker) -> Workbench:
    (tmp_path / "root").mkdir()
    return Workbench(tmp_path / "root", TOOLBOX, worker, largest=0.1)


@pytest.fixture
def photo():
    return smooth_photo(0).clip(30, 200)


@pytest.fixture
def drop(tmp_path, bench, photo):
    """Drop the photo, or another file, in a session."""

    def drop(key="me", content=None, name="photo.png"):
        if content is None:
            write_image(tmp_path / name, photo)
        else:
            (tmp_path / name).write_bytes(content)
        return bench.open(key, tmp_path / name)

    return drop


def restored(bench):
    """What the page shows in the end."""
    *_, view = bench.restore("me")
    return view


def files(bench) -> list:
    return [path for path in bench.root.rglob("*") if path.is_file()]


class TestRestore:
    def test_the_file_to_download_is_what_restore_returns(self, bench, drop, photo):
        drop()
        view = restored(bench)
        expected = restore(photo, POLICY, TOOLBOX)
        assert view.result.name == "photo-restored.png" and (read_image(view.result) == expected.image).all()
        assert (
            "removed slight noise everywhere" in view.message.lower() and "photo.png: 128 x 96 pixels" in view.message
        )
        assert view.steps.count("<section>") == len(expected.steps) and "applied down everywhere" in view.steps.lower()
        assert json.loads(view.report.read_text().split("<pre>")[1].split("</pre>")[0].replace("&quot;", '"'))["steps"]

    def test_a_photo_that_is_not_restored_yet_comes_back_byte_for_byte(self, drop, photo, tmp_path):
        write_image(tmp_path / "same.jpg", photo)
        content = (tmp_path / "same.jpg").read_bytes()
        view = drop(content=content, name="photo.jpg")
        assert view.result.read_bytes() == content and view.steps == "" and view.report is None

    def test_metadata_and_format_stay(self, bench, drop, photo):
        exif = Image.Exif()
        exif[315] = "someone"
        content = io.BytesIO()
        Image.fromarray(photo).save(content, "JPEG", quality=97, exif=exif, dpi=(300, 300))
        drop(content=content.getvalue(), name="photo.jpg")
        found = read_photo(restored(bench).result)[1]
        assert found.jpeg_quality == 97 and found.dpi == (300, 300)
        assert b"someone" in found.exif

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("shape", [(64, 70), (64, 70, 4), (1, 1, 3)])
    def test_any_photo_that_restore_takes(self, bench, tmp_path, shape, dtype):
        image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        write_image(tmp_path / "any.png", image)
        bench.open("me", tmp_path / "any.png")
        assert (read_image(restored(bench).result) == restore(image, POLICY, TOOLBOX).image).all()

    def test_images_for_the_screen(self, bench, drop, photo):
        drop()
        view = restored(bench)
        before, after = (np.asarray(Image.open(file).convert("RGB")).astype(int) for file in (view.before, view.after))
        assert np.abs(before - photo).mean() < 5 and 7 < (after - before).mean() < 13


class TestWatching:
    def test_the_photo_is_shown_after_each_step(self, bench, drop, photo):
        drop()
        bench.set_strength("me", 0.5)
        *previews, view = bench.restore("me")
        assert [type(each) for each in (*previews, view)] == [Preview, Preview, View]
        assert [each.message for each in previews] == [f"photo.png: step {number} is done ..." for number in (1, 2)]
        files = [each.after.name for each in previews]
        assert files == ["after.webp"] * 2 and len({each.after for each in previews}) == 2
        shown = np.asarray(Image.open(previews[1].after).convert("RGB")).astype(int)  # the first one is gone
        assert 3 < (shown - photo).mean() < 8  # half of 20 - 10

    def test_nobody_watches_to_the_end(self, bench, drop, photo):
        drop()
        watched = bench.restore("me")
        next(watched)
        watched.close()
        assert (read_image(bench.set_strength("me", 1.0).result) == photo).all()
        assert (read_image(restored(bench).result) == photo + 10).all()


class TestStrength:
    @pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
    def test_it_blends_as_restore_does_and_does_not_restore_again(self, bench, drop, photo, worker, strength):
        drop()
        restored(bench)
        view = bench.set_strength("me", strength)
        assert worker.count == 1 and view.strength == strength
        expected = restore(photo, POLICY, TOOLBOX, strength=strength, record=True)
        assert (read_image(view.result) == expected.image).all()
        session = bench._sessions["me"]
        made = workbench._weakened(session.changes[-1].restored, photo, strength)
        assert all((found == image).all() for found, image in zip(made.images, expected.images, strict=True))

    def test_a_wrong_one_is_refused(self, bench, drop):
        drop()
        with pytest.raises(ValueError, match="strength=2 is not a number from 0 to 1"):
            bench.set_strength("me", 2)


class TestByHand:
    def test_tools_follow_each_other_and_can_be_taken_back(self, bench, drop, photo):
        drop()
        assert (read_image(bench.apply("me", "up").result) == photo + 20).all()
        view = bench.apply("me", "down")
        assert (read_image(view.result) == photo + 10).all() and "By hand: up, then down." in view.message
        assert view.report is None
        assert (read_image(bench.undo("me").result) == photo + 20).all()
        assert (read_image(bench.undo("me").result) == photo).all()
        assert (read_image(bench.undo("me").result) == photo).all()  # nothing is left to undo

    def test_a_tool_works_on_what_the_policy_made(self, bench, drop, photo):
        drop()
        report = restored(bench).report.read_bytes()
        view = bench.apply("me", "up")
        assert (read_image(view.result) == photo + 30).all() and view.report.read_bytes() == report
        assert (read_image(bench.undo("me").result) == photo + 10).all()
        view = bench.reset("me")
        assert (read_image(view.result) == photo).all() and view.report is None

    def test_restoring_starts_from_the_photo(self, bench, drop, photo):
        drop()
        bench.apply("me", "up")
        assert (read_image(restored(bench).result) == photo + 10).all()

    def test_what_is_no_tool_and_what_fails(self, bench, drop, photo):
        drop()
        with pytest.raises(ValueError, match="'best' is no tool; choose one of up, down, odd"):
            bench.apply("me", "best")
        with pytest.raises(ToolError, match="tool 'odd' returned NaN or infinity"):
            bench.apply("me", "odd")
        assert (read_image(bench.undo("me").result) == photo).all()


class TestRefused:
    def test_a_damaged_file(self, bench, drop, photo, tmp_path):
        write_image(tmp_path / "whole.png", photo)
        for content, words in (
            ((tmp_path / "whole.png").read_bytes()[:3000], "cannot be read"),
            (b"no photo", "not an image"),
            (b"", "the file is empty"),
        ):
            with pytest.raises(ImageError, match=rf"^photo\.png: .*{words}") as refused:
                drop(content=content)
            assert str(tmp_path) not in str(refused.value)
        assert list(bench.root.iterdir()) == []

    def test_a_photo_that_is_too_large_is_refused_by_its_header(self, bench, drop, tmp_path):
        Image.new("RGB", (400, 300)).save(tmp_path / "large.png")
        content = (tmp_path / "large.png").read_bytes()[:100]  # the rest is missing
        with pytest.raises(ImageError, match=r"400 x 300 pixels are 0\.1 megapixels; at most 0\.1 are taken"):
            drop(content=content, name="large.png")
        assert list(bench.root.iterdir()) == []

    def test_there_is_no_photo_yet_or_no_longer(self, bench, drop):
        with pytest.raises(ImageError, match="there is no photo; drop one first"):
            restored(bench)
        drop()
        with pytest.raises(ImageError, match="there is no photo"):
            bench.undo("you")

    def test_a_photo_that_another_session_took(self, bench, tmp_path):
        with pytest.raises(ImageError, match=r"photo\.png: got lost"):
            bench.open("me", tmp_path / "photo.png")
        assert list(bench.root.iterdir()) == []


class TestNothingIsKept:
    def test_a_session_that_ends_leaves_nothing(self, bench, drop, tmp_path):
        drop("me")
        drop("you", name="another.png")
        restored(bench)
        assert not (tmp_path / "photo.png").exists()  # it was moved
        bench.forget("me")
        assert {path.parts[-3] for path in files(bench)} == {bench._sessions["you"].folder.name}
        bench.forget("you")
        bench.forget("nobody")
        assert list(bench.root.iterdir()) == []

    def test_another_photo_replaces_the_first(self, bench, drop):
        drop()
        drop(name="another.png")
        assert [path.name for path in bench.root.glob("*/photo/*")] == ["another.png"]

    def test_old_versions_go(self, bench, drop):
        drop()
        for strength in np.linspace(0, 1, 8):
            bench.set_strength("me", strength)
        assert len(list(bench.root.glob("*/*/photo-restored.png"))) == 2

    def test_what_nobody_touches_is_forgotten(self, bench, drop, monkeypatch):
        drop("me")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + workbench.IDLE + 1)
        drop("you")
        with pytest.raises(ImageError):
            restored(bench)
        assert len(list(bench.root.iterdir())) == 1

    def test_a_photo_that_is_replaced_while_it_is_restored(self, bench, drop, worker, monkeypatch):
        drop()
        inside, go_on, told = threading.Event(), threading.Event(), []

        def slow(image, tool=None):
            inside.set()
            assert go_on.wait(60)
            yield from Here().watch(image, tool)

        def restore_it():
            with pytest.raises(ImageError, match="replaced meanwhile"):
                restored(bench)
            told.append(True)

        monkeypatch.setattr(worker, "watch", slow)
        thread = threading.Thread(target=restore_it)
        thread.start()
        assert inside.wait(60)
        drop(name="another.png")
        go_on.set()
        thread.join()
        assert told and [path.name for path in bench.root.glob("*/photo/*")] == ["another.png"]


def test_examples_are_distorted_photos(tmp_path, worker):
    view = Workbench(tmp_path, TOOLBOX, worker, 1).example("me", "chelsea")
    assert "chelsea" in EXAMPLES and view.result.name == "chelsea-distorted-restored.png"
    assert read_image(view.result).shape == (300, 451, 3)


@pytest.fixture(scope="module")
def process():
    worker = Worker(Settings("fixed:median-3,bilateral", "classical"), seconds=120)
    yield worker
    worker.close()


@pytest.mark.slow
class TestWorker:
    """A process of its own; each takes seconds to start."""

    def test_it_restores_as_restore_does(self, process, photo):
        found = process.restore(photo)
        expected = restore(photo, "fixed:median-3,bilateral", "classical", record=True)
        assert (found.image == expected.image).all() and found.steps == expected.steps
        assert (found.choices == expected.choices).all() and len(found.images) == 3
        found = process.restore(photo, "bilateral-mild")
        assert (found.image == restore(photo, "fixed:bilateral-mild", "classical", max_steps=1).image).all()

    def test_it_tells_how_the_photo_stands(self, process, photo):
        first, second, found = process.watch(photo)
        assert (first == found.images[0]).all() and (second == found.images[1]).all()

    def test_it_goes_on_when_nobody_waits_for_the_rest(self, process, photo):
        watched = process.watch(photo)
        next(watched)
        watched.close()
        assert len(process.restore(photo).steps) == 3

    def test_it_goes_on_after_an_error_and_after_its_end(self, process, photo):
        with pytest.raises(TypeError, match="image is"):
            process.restore(photo.astype(float))
        assert len(process.restore(photo).steps) == 3
        process.close()
        assert len(process.restore(photo).steps) == 3

    def test_a_photo_that_takes_too_long_is_given_up(self, process, photo, monkeypatch):
        monkeypatch.setattr(process, "seconds", 0.0)
        first = process._process
        with pytest.raises(TimeoutError, match="takes more than 0 s"):
            process.restore(np.tile(photo, (8, 8, 1)))
        assert not first.is_alive()
        monkeypatch.undo()
        assert len(process.restore(photo).steps) == 3

    def test_a_policy_that_cannot_be_loaded(self):
        with pytest.raises(ValueError, match="unknown"):
            Worker(Settings("unknown", "classical"), seconds=1)

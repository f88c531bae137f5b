"""The command `restore-env serve`, and its page in a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_photo

from restore_env import load_toolbox, read_image, restore, write_image
from restore_env.cli.main import main
from restore_env.cli.workbench import Workbench
from restore_env.cli.worker import Settings, Worker

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
POLICY, TOOLBOX = "fixed:median-3,bilateral", "classical"
SERVE = ["serve", "--port", "0", "--policy", POLICY, "--toolbox", TOOLBOX, "--largest", "0.5"]
PROGRAM = "import sys; from restore_env.cli import main; main()"
WAIT = 120_000  # milliseconds; a browser on busy cores is slow

needs_gradio = pytest.mark.skipif(
    find_spec("gradio") is None, reason="gradio is not installed here; `make browser-test` installs it"
)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: its exit code, and what it prints on standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["restore-env", *map(str, words)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGTERM, before)
        return end.value.code, capsys.readouterr().err

    return run


def test_without_gradio_one_line_names_the_extra(run, monkeypatch):
    monkeypatch.setattr("restore_env.cli.serve.find_spec", lambda name: None)
    assert run("serve") == (2, "restore-env: gradio is not installed; restore-env[serve] installs it\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--policy", "unknown"], "unknown"),
        (["--policy", "greedy"], "needs a reference"),
        (["--toolbox", "nowhere"], "nowhere"),
        (["--port", "70000"], "--port"),
        (["--largest", "0"], "--largest"),
        (["--seconds", "-1"], "--seconds"),
    ],
)
def test_wrong_options_are_one_line(run, monkeypatch, words, told):
    monkeypatch.setattr("restore_env.cli.serve.find_spec", lambda name: True)
    code, err = run("serve", *words)
    assert code == 2 and told in err and len(err.splitlines()) == 1


def test_an_address_that_is_taken_is_one_line(run, monkeypatch):
    monkeypatch.setattr("restore_env.cli.serve.find_spec", lambda name: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = run("serve", "--policy", "stop", "--toolbox", "classical", "--port", port)
    assert code == 1 and f"127.0.0.1:{port}: cannot be served" in err and len(err.splitlines()) == 1


@contextmanager
def serving(folder: Path, *options: str):
    """Run the command in a process of its own, with a folder for its temporary files; yield it and its address."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *SERVE, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        address = process.stdout.readline().split(" ")[0]
        assert address, process.communicate()[1]
        yield process, address
    finally:
        process.kill()
        process.communicate()


def kept(folder: Path) -> list[Path]:
    """Return the files that a server keeps; PyTorch has a folder of its own for what it compiles."""
    return [path for path in folder.glob("restore-env-serve-*/**/*") if path.is_file()]


def wait_until(condition) -> bool:
    """Return whether something comes true within a minute."""
    return any(condition() or time.sleep(0.1) for _ in range(600))


@needs_gradio
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_deletes_its_files(tmp_path, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this signal is ignored here, as `nohup` has it, and so in all processes that are started")
    with serving(tmp_path / "temporary") as (process, address):
        assert address.startswith("http://127.0.0.1:") and list((tmp_path / "temporary").glob("restore-env-serve-*"))
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
        assert (process.returncode, out) == (130, "") and err.split() == ["restore-env:", "interrupted"]
    assert not list((tmp_path / "temporary").glob("restore-env-serve-*"))


class Page:
    """The page in a browser, as a user sees it."""

    def __init__(self, browser, address: str) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.page.set_default_timeout(WAIT)
        self.asked: set[str] = set()
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.goto(address)
        self.locator("#restore").wait_for()

    def locator(self, selector: str):
        return self.page.locator(selector)

    def message(self, *words: str) -> str:
        """Wait until the message has some words, and return it."""
        for word in words:
            self.locator("#message").get_by_text(word).first.wait_for()
        return self.locator("#message").inner_text()

    def drop(self, file: Path) -> None:
        self.locator("#drop input[type=file]").set_input_files(file)

    def click(self, name: str) -> None:
        self.locator(f"#{name}").click()

    def after(self) -> str:
        """Return the address of the photo on the right of the slider."""
        return self.locator("#slider img").last.get_attribute("src") or ""

    def changes(self, do, *words: str) -> str:
        """Do something, wait until another photo is shown, and return the message."""
        before = self.after()
        do()
        assert wait_until(lambda: self.after() != before)
        return self.message(*words)

    def download(self, name: str, folder: Path) -> Path:
        with self.page.expect_download() as download:
            self.click(name)
        target = folder / download.value.suggested_filename
        download.value.save_as(target)
        return target

    def set_strength(self, value: float) -> None:
        number = self.locator("#strength input[type=number]")
        number.fill(str(value))
        number.press("Enter")


@pytest.fixture(scope="module")
def browser():
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed here; `make browser-test` installs it")
    if not CHROMIUM:
        pytest.skip("chromium is not installed on this machine; Debian's package chromium installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@needs_gradio
@pytest.mark.slow
def test_a_visit(browser, tmp_path):
    photo, temporary = smooth_photo(0, 150, 200).clip(30, 200), tmp_path / "temporary"
    write_image(tmp_path / "photo.png", photo)
    content = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "damaged.png").write_bytes(content[: len(content) // 2])
    write_image(tmp_path / "large.png", np.zeros((800, 1000, 3), np.uint8))
    with serving(temporary) as (process, address):
        page = Page(browser, address)
        page.click("restore")
        page.message("there is no photo; drop one first")

        page.drop(tmp_path / "photo.png")
        page.message("photo.png: 200 x 150 pixels")
        assert page.download("result", tmp_path).read_bytes() == content
        page.changes(lambda: page.click("restore"), "Applied median-3 everywhere; then applied bilateral everywhere.")
        expected = restore(photo, POLICY, TOOLBOX)
        result = page.download("result", tmp_path)
        assert result.name == "photo-restored.png" and (read_image(result) == expected.image).all()
        assert page.locator("#steps section").count() == len(expected.steps)
        assert page.locator("#steps svg rect").count() == sum(expected.choices.flat < len(load_toolbox(TOOLBOX)))
        report = page.download("report", tmp_path)
        assert report.name == "photo-restored.html" and "Applied median-3 everywhere" in report.read_text()

        page.changes(lambda: page.set_strength(0.25))
        half = restore(photo, POLICY, TOOLBOX, strength=0.25).image
        assert (read_image(page.download("result", tmp_path)) == half).all()
        page.changes(lambda: page.set_strength(1))

        page.locator("#tool input").click()
        page.page.get_by_role("option", name="unsharp-mild", exact=True).click()
        page.changes(lambda: page.click("apply"), "By hand: unsharp-mild.")
        sharper = restore(expected.image, "fixed:unsharp-mild", TOOLBOX, max_steps=1).image
        assert (read_image(page.download("result", tmp_path)) == sharper).all()
        page.changes(lambda: page.click("undo"))
        assert (read_image(page.download("result", tmp_path)) == expected.image).all()
        page.changes(lambda: page.click("reset"))
        assert page.download("result", tmp_path).read_bytes() == content

        page.drop(tmp_path / "damaged.png")
        page.message("damaged.png: cannot be read")
        page.drop(tmp_path / "large.png")
        page.message("large.png: 1000 x 800 pixels are 0.8 megapixels; at most 0.5 are taken here")
        assert not kept(temporary)

        page.locator("#example input").click()
        page.page.get_by_role("option", name="chelsea", exact=True).click()
        page.message("chelsea-distorted.png: 451 x 300 pixels")
        other = Page(browser, address)
        other.drop(tmp_path / "photo.png")
        other.message("photo.png: 200 x 150 pixels")
        page.page.close()
        assert wait_until(lambda: {path.name for path in kept(temporary)} & {"chelsea-distorted.png"} == set())
        assert {path.name for path in kept(temporary)} >= {"photo.png"}
        other.page.close()
        assert wait_until(lambda: not kept(temporary))

        assert all(url.startswith((address, "data:", "blob:")) for url in page.asked)
        process.terminate()
        _, err = process.communicate(timeout=600)
        assert err.split() == ["restore-env:", "interrupted"]
    assert not list(temporary.glob("restore-env-serve-*"))


@needs_gradio
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of other libraries
def test_a_photo_that_takes_too_long_is_told(browser, tmp_path, monkeypatch):
    from threading import Thread

    import uvicorn

    from restore_env.cli.serve import make_app

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    worker = Worker(Settings(POLICY, TOOLBOX), seconds=1e-6)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(Workbench(tmp_path, load_toolbox(TOOLBOX), worker, 1)),
            log_level="critical", timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        page = Page(browser, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        write_image(tmp_path / "photo.png", smooth_photo(0, 600, 800))
        page.drop(tmp_path / "photo.png")
        page.message("photo.png: 800 x 600 pixels")
        page.click("restore")
        page.message("this photo takes more than 1e-06 s, which is the limit here")
        page.page.close()
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive() and not worker._process.is_alive()

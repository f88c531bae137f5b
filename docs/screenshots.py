"""Draw the pictures of the page of `restore-env serve` in Debian's chromium: `make screenshots`.

The photo is Chelsea the cat of scikit-image, by Stefan van der Walt, CC0.
"""

import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER: Final = Path(__file__).parent
SIZE: Final = {"width": 1100, "height": 810}
WAIT: Final = 1_200_000
"""Milliseconds."""

SERVE: Final = [sys.executable, "-c", "from restore_env.cli import main; main()", "serve", "--port", "0"]


def save(page: Any, name: str) -> None:
    """Write what the browser shows as a small file."""
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").save(FOLDER / name, "WEBP", quality=80, method=6)


def draw(page: Any, address: str) -> None:
    """Visit the page, and draw it after restoring and at the steps."""
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.locator("#example input").click()
    page.get_by_role("option", name="chelsea", exact=True).click()
    page.locator("#message").get_by_text("451 x 300 pixels").wait_for()
    page.locator("#restore").click()
    page.locator("#steps section").first.wait_for()
    page.wait_for_function("[...document.querySelectorAll('#slider img, #steps img')].every(image => image.complete)")
    page.wait_for_timeout(3000)  # the slider moves to the middle
    save(page, "serve.webp")
    page.locator("#steps section").first.evaluate("element => element.scrollIntoView()")
    page.wait_for_timeout(1000)
    save(page, "serve-steps.webp")


def main() -> None:
    """Run the server and a browser."""
    server = subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" ")[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            draw(browser.new_page(viewport=SIZE), address)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

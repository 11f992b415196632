"""A browser for the tests: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

WAIT = 60_000  # milliseconds: the tests may share their cores with others


def browser_path() -> str:
    """The browser's program.

    It is skipped where there is none: `make test` installs it where root runs it.
    """
    found = os.environ.get("UPSEG_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("there is no chromium; install it (Debian: apt-get install chromium) or name it in UPSEG_BROWSER")
    return found


@contextmanager
def a_browser():
    """Start it."""
    path = browser_path()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()


class Page:
    """The page of one session, and what tests do on it.

    Attributes:
        page: Playwright's page.
        asked: Every address that was asked for.
        wrong: What the browser's console called an error.
    """

    def __init__(self, browser, address: str, session: str | None = None, **options) -> None:
        self.context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 800}), **options)
        self.context.set_default_timeout(WAIT)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.address = address
        self.open(session)

    def open(self, session: str | None) -> None:
        self.page.goto("about:blank")
        self.page.goto(self.address + (f"/#{session}" if session else "/"))
        self.page.wait_for_selector("html[data-ready=yes]", state="attached")
        if session:
            self.wait_for_segments()

    def wait_for_segments(self) -> None:
        from playwright.sync_api import expect

        expect(self.page.locator("#count")).not_to_be_empty(timeout=WAIT)
        # the tiles are there when something is drawn
        for _ in range(600):
            if self.coloured() > 0.2:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("nothing was drawn")

    def close(self) -> None:
        self.context.close()

    def place(self, row: float, column: float) -> tuple[float, float]:
        """The point of the screen of a place in the photo, as long as the view is the first one."""
        box = self.page.locator("#stage").bounding_box()
        height, width = self.size()
        scale = min(box["width"] / width, box["height"] / height, 32)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + column * scale, top + row * scale

    def size(self) -> tuple[int, int]:
        text = self.page.locator("#title").inner_text()
        width, height = text.rpartition(", ")[2].split(" \N{MULTIPLICATION SIGN} ")
        return int(height), int(width)

    def click(self, row: float, column: float, *modifiers: str) -> None:
        for key in modifiers:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.place(row, column))
        for key in modifiers:
            self.page.keyboard.up(key)
        self.settle()

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=4)
        self.page.mouse.up()
        self.settle()

    def settle(self) -> None:
        """Wait until all that was sent is answered, and drawn."""
        for _ in range(2):  # an answer can lead to another question, for tiles
            self.page.wait_for_timeout(50)
            self.page.wait_for_selector("html[aria-busy=false]", state="attached")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def tool(self, name: str) -> None:
        self.page.click(f"[data-tool={name}]")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def note(self) -> str:
        return self.page.locator("#chosen-note").inner_text()

    def chosen(self) -> int:
        """Pixels that are chosen."""
        text = self.note()
        return int(text.partition(" pixels")[0].rpartition(", ")[2].replace(",", "")) if " pixels" in text else 0

    def count(self) -> int:
        return int(self.page.locator("#count").inner_text().replace(",", ""))

    def coloured(self) -> float:
        """The share of the overlay that is not transparent."""
        return self.page.locator("#overlay").evaluate(
            """canvas => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              let found = 0;
              for (let i = 3; i < data.length; i += 4) if (data[i]) found += 1;
              return found / (width * height);
            }"""
        )

    def pixel(self, row: float, column: float, canvas: str = "overlay") -> list[int]:
        x, y = self.place(row, column)
        box = self.page.locator("#stage").bounding_box()
        return self.page.locator(f"#{canvas}").evaluate(
            "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]",
            [round(x - box["x"]), round(y - box["y"])],
        )

    def saved(self, click: str) -> str:
        """What a click saves: the file's path."""
        with self.page.expect_download() as download:
            self.page.click(click)
        return str(download.value.path())

"""How long a person waits for `upseg app`: measured in the browser, from the event to the picture that shows it.

    python benchmarks/app_times.py [--megapixels 0.3 12 24] [--rounds 9]

starts the server, segments a sample photo enlarged to each size, opens it in chromium, and prints a table: the first
picture (from opening the page), a move of the slider, a click, a stroke of the brush (from letting go to the pixels
that come back from the disk), and the export as PNG. Medians; in brackets the longest. The memory is that of the page,
and of the server's processes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from app_load import SECONDS, memory, png, start
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from skimage import data

WATCH = """
() => {
  window.began = 0;
  for (const name of ["pointerup", "input"]) {
    document.addEventListener(name, (event) => {
      performance.clearMarks();
      window.began = event.timeStamp;
    }, true);
  }
  // the picture is on the screen when the frame after it begins
  window.shown = () => {
    const marks = performance.getEntriesByName("upseg-drawn");
    return marks.length ? marks[0].startTime - window.began : null;
  };
  window.lastShown = () => {
    const marks = performance.getEntriesByName("upseg-drawn");
    return marks.length ? marks.at(-1).startTime - window.began : null;
  };
}
"""


def photo(megapixels: float) -> np.ndarray:
    """A sample photo enlarged to a size, with the noise that a camera would add."""
    height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
    image = Image.fromarray(data.coffee()).resize((height * 3 // 2, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 3, (height, height * 3 // 2, 1))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def segmented(web: httpx.Client, image: np.ndarray) -> tuple[str, float]:
    """A session with segments, and the seconds that they took."""
    session = (
        web.post("/api/sessions", params={"name": "photo.png"}, content=png(image)).raise_for_status().json()["id"]
    )
    began = time.perf_counter()
    job = web.post(f"/api/sessions/{session}/segment").json()["id"]
    while (told := web.get(f"/api/jobs/{job}").json())["status"] in ("waiting", "running"):
        time.sleep(0.5)
    if told["status"] != "done":
        raise SystemExit(told["error"])
    return session, time.perf_counter() - began


def shown(page: Page, which: str = "shown") -> float:
    """Milliseconds from the last event to the picture."""
    for _ in range(400):
        page.wait_for_timeout(20)
        found = page.evaluate(f"() => window.{which}()")
        if found is not None:
            return float(found)
    raise SystemExit("nothing was drawn")


def first_picture(page: Page, address: str, session: str) -> float:
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(f"{address}/#{session}")
    page.wait_for_selector("#list button")
    return 1000 * (time.perf_counter() - began)


def measure(page: Page, address: str, session: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each thing that a person does."""
    found: dict[str, list[float]] = {"first picture": [first_picture(page, address, session) for _ in range(3)]}
    page.wait_for_timeout(1500)
    page.evaluate(WATCH)
    box = page.locator("#stage").bounding_box()
    places = [(box["x"] + box["width"] * (0.2 + 0.06 * n), box["y"] + box["height"] * 0.5) for n in range(rounds)]
    found["slider"] = []
    for number in range(rounds):
        page.locator("#detail").fill(str(round(0.3 + 0.05 * number, 2)))
        found["slider"].append(shown(page))
    found["click"] = []
    for place in places:
        page.mouse.move(*place)
        page.wait_for_timeout(200)
        page.mouse.click(*place)
        found["click"].append(shown(page))
    page.click("[data-tool=paint]")
    page.keyboard.press("Escape")
    found["stroke"] = []
    for x, y in places:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 20, y + 30, steps=5)
        page.mouse.up()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(700)
        found["stroke"].append(shown(page, "lastShown"))
        page.keyboard.press("Escape")
    return found


def export(web: httpx.Client, session: str) -> float:
    began = time.perf_counter()
    web.get(f"/api/sessions/{session}/export", params={"format": "png"}).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.3, 12, 24])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    chromium = os.environ.get("UPSEG_BROWSER") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server, address = start(Path(folder))
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        web = httpx.Client(base_url=address, timeout=SECONDS * 10)
        print("| megapixels | segmenting | first picture | slider | click | stroke | export | memory of page, server |")
        print("|---|---|---|---|---|---|---|---|")
        for size in options.megapixels:
            session, seconds = segmented(web, photo(size))
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(SECONDS * 1000)
            found = measure(page, address, session, options.rounds)
            found["export"] = [export(web, session) for _ in range(3)]
            heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")
            taken = (heap["usedSize"] + heap.get("backingStorageSize", 0)) / 1e6
            cells = [f"{statistics.median(v):,.0f} ms ({max(v):,.0f})" for v in found.values()]
            print(
                f"| {size:g} | {seconds:.1f} s | {' | '.join(cells)} | {taken:.0f}, {memory(server.pid):.0f} MB |",
                flush=True,
            )
            page.close()
        browser.close()
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()

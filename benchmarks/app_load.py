"""How `upseg app` bears many clients, slow and aborted uploads, and damaged files.

    python benchmarks/app_load.py [--clients 50] [--requests 200] [--damaged 1000] [--rounds 3]

starts it, and prints how many answers of each kind there were, their times, and the memory of its processes before,
at the most, and after; the first round also loads what later ones use again. An answer 500 or a server that does not
answer afterwards is an error.
"""

from __future__ import annotations

import argparse
import io
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from skimage import data

SECONDS = 300


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the server on any free port; returns it and its address."""
    command = [sys.executable, "-m", "upseg", "app", "--port", "0", "--sessions", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    address = line.partition(": ")[2].strip()
    while True:
        try:
            httpx.get(address + "api/jobs")
            return server, address.rstrip("/")
        except httpx.TransportError:
            time.sleep(0.2)


def memory(process: int) -> float:
    """Megabytes that a process and all that it started take, what they share counted once."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:"))
            if str(process) in (parent.split()[1], status.parent.name):
                rows = (status.parent / "smaps_rollup").read_text().splitlines()
                total += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1000


class Peak(threading.Thread):
    """Watches the memory of a process."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.most, self.over = process, 0.0, threading.Event()

    def run(self) -> None:
        """Look once a second."""
        while not self.over.wait(1.0):
            self.most = max(self.most, memory(self.process))


def png(image: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, format="PNG")
        return file.getvalue()


def client(address: str, session: str, number: int, requests: int, answers: Counter, times: list[float]) -> None:
    """What one of the clients asks for."""
    drawn = random.Random(number)
    with httpx.Client(base_url=address, timeout=SECONDS) as web:
        for _ in range(requests):
            path = f"/api/sessions/{session}"
            ask = drawn.choice(["state", "tile", "pieces", "list", "edit", "undo", "array", "page"])
            began = time.perf_counter()
            if ask == "edit":
                stroke = [[drawn.random() * 400, drawn.random() * 600] for _ in range(4)]
                answer = web.post(f"{path}/edits", json={"kind": "paint", "strokes": [stroke], "radius": 6})
            elif ask == "undo":
                answer = web.post(f"{path}/undo")
            else:
                asked = {"state": path, "tile": f"{path}/tiles/picture/0/0/{drawn.randrange(2)}.jpg", "page": "/"}
                asked |= {"pieces": f"{path}/pieces/0/0/0", "list": "/api/sessions", "array": f"{path}/arrays/areas"}
                answer = web.get(asked[ask])
            times.append(time.perf_counter() - began)
            answers[answer.status_code] += 1


def damaged(number: int) -> bytes:
    """A damaged image: bytes flipped, the end cut off, or pieces doubled."""
    drawn = random.Random(number)
    picture = Image.fromarray(data.coffee()).resize((90, 60))
    with io.BytesIO() as file:
        picture.save(file, format=("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")[number % 6])
        content = bytearray(file.getvalue())
    for _ in range(drawn.randrange(1, 30)):
        content[drawn.randrange(len(content))] = drawn.randrange(256)
    cut = drawn.randrange(len(content))
    return bytes(content[:cut] if number % 3 == 0 else content + content[cut:] if number % 3 == 1 else content)


def slow_upload(address: str, *, ends: bool) -> int:
    """An upload a few bytes at a time, which ends, or goes away in the middle; returns the answer's status."""
    host, _, port = address.removeprefix("http://").partition(":")
    content = png(np.zeros((40, 50, 3), np.uint8))
    head = f"POST /api/sessions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(head.encode())
        for at in range(0, len(content), 16):
            if not ends and at > len(content) // 2:
                return 0
            connection.sendall(content[at : at + 16])
            time.sleep(0.1)
        return int(connection.recv(100).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--damaged", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, address = start(Path(folder))
        try:
            measure(options, server.pid, address)
        finally:
            server.terminate()
            server.wait(30)


def measure(options: argparse.Namespace, process: int, address: str) -> None:
    with httpx.Client(base_url=address, timeout=SECONDS) as web:
        session = web.post("/api/sessions", content=png(data.coffee())).raise_for_status().json()["id"]
        job = web.post(f"/api/sessions/{session}/segment").json()["id"]
        while web.get(f"/api/jobs/{job}").json()["status"] in ("waiting", "running"):
            time.sleep(1)
        print(f"memory of all processes: before {memory(process):.0f} MB", flush=True)
        for _ in range(options.rounds):
            one_round(options, process, address, session, web)


def one_round(options: argparse.Namespace, process: int, address: str, session: str, web: httpx.Client) -> None:
    peak = Peak(process)
    peak.start()
    answers, times = Counter(), []
    began = time.perf_counter()
    with ThreadPoolExecutor(options.clients + 10) as pool:
        done = [
            pool.submit(client, address, session, number, options.requests, answers, times)
            for number in range(options.clients)
        ]
        slow = [pool.submit(slow_upload, address, ends=number % 2 == 0) for number in range(10)]
        for one in done:
            one.result()
        seconds = time.perf_counter() - began
        uploads = Counter(one.result() for one in slow)
    files = Counter()
    for number in range(options.damaged):
        answer = web.post("/api/sessions", params={"name": f"{number}.png"}, content=damaged(number))
        files[answer.status_code] += 1
        if answer.status_code == 201:
            web.delete(f"/api/sessions/{answer.json()['id']}")
    alive = web.get(f"/api/sessions/{session}").status_code
    time.sleep(3)
    peak.over.set()
    late = np.sort(times)[int(0.99 * len(times))]
    print(f"{len(times)} requests of {options.clients} clients in {seconds:.1f} s, {len(times) / seconds:.0f}/s")
    print(f"answers {dict(sorted(answers.items()))}; median {np.median(times):.3f} s, 99 % {late:.3f} s")
    print(f"slow uploads {dict(uploads)} (0: aborted); damaged files {dict(sorted(files.items()))}")
    print(f"memory of all processes: at most {peak.most:.0f} MB, after {memory(process):.0f} MB", flush=True)
    errors = sum(count for counter in (answers, uploads, files) for status, count in counter.items() if status >= 500)
    if errors > files[503] + answers[503] + uploads[503] or alive != 200:
        sys.exit("the server failed")


if __name__ == "__main__":
    main()

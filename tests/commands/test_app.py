"""`upseg app` as a process: its address, its end, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.app.conftest import photo, with_levels
from upseg.app.document import RESULT, adopt
from upseg.app.pictures import store_picture
from upseg.app.sessions import Sessions
from upseg.cli import main
from upseg.formats import write


@contextmanager
def running(*arguments: str, **environment: str):
    """Start it; gives the process and its address."""
    command = [sys.executable, "-m", "upseg", "app", "--port", "0", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        line = server.stdout.readline()
        assert line.startswith("upseg app: http://"), line
        yield server, line.partition(": ")[2].strip().rstrip("/")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def client_of(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=120, transport=httpx.HTTPTransport(retries=20))


def a_session(folder: Path) -> str:
    session = Sessions(folder / "sessions", max_stored=1 << 40, days=30.0).create("photo.png")
    write(with_levels(), session.folder / RESULT, format="npz")
    store_picture(photo(), session.folder)
    adopt(session.folder)
    session.update(size=[40, 60])
    return session.id


@pytest.mark.slow
def test_after_a_kill_everything_that_was_answered_is_there(tmp_path) -> None:
    path = f"/api/sessions/{a_session(tmp_path)}"
    with running("--sessions", str(tmp_path)) as (server, address), client_of(address) as client:
        for column in range(5, 55, 10):
            edit = {"kind": "paint", "strokes": [[[20, column]]], "radius": 3}
            kept = client.post(f"{path}/edits", json=edit).json()
        pieces = client.get(f"{path}/pieces/0/0/0").content
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    with running("--sessions", str(tmp_path)) as (server, address), client_of(address) as client:
        state = client.get(path).json()["document"]
        assert (state["undo"], state["pieces"]) == (kept["undo"], kept["pieces"]) == (5, 11)
        assert client.get(f"{path}/pieces/0/0/0").content == pieces
        for _ in range(5):
            told = client.post(f"{path}/undo").json()
        assert told["undo"] == 0
        tile = np.frombuffer(client.get(f"{path}/pieces/0/0/0").content, "<i4")
        assert tile.max() == 6
        server.send_signal(signal.SIGINT)
        assert server.wait(30) in (0, -signal.SIGINT, 130)


@pytest.mark.slow
def test_a_folder_is_listed_and_the_token_is_never_printed(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.rint(photo() * 255).astype(np.uint8)).save(tmp_path / "photos" / name)
    token = "only-for-this-test-123"
    arguments = (str(tmp_path / "photos"), "--sessions", str(tmp_path / "work"))
    with running(*arguments, UPSEG_TOKEN=token) as (server, address):
        assert address.endswith("/?token=...")
        base = address.removesuffix("/?token=...")
        with client_of(base) as client:
            assert client.get("/api/photos").status_code == 401
            client.headers["Authorization"] = f"Bearer {token}"
            assert [one["name"] for one in client.get("/api/photos").json()] == ["a.png", "b.jpg"]
            opened = client.post("/api/photos/1").json()
            assert (opened["name"], opened["size"]) == ("b.jpg", [40, 60])
            assert client.post("/api/photos/1").json()["id"] == opened["id"]
            assert client.post("/api/photos/2").status_code == 422
            assert str(tmp_path) not in client.get("/api/photos").text
        server.kill()
        assert token not in server.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", "only-for-this-test-123"])
def test_the_address_is_opened_in_the_browser_with_its_token(tmp_path, token) -> None:
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}.part && mv {asked}.part {asked}\n')
    browser.chmod(0o755)
    with running("--sessions", str(tmp_path / "work"), "--open", BROWSER=f"{browser} %s", UPSEG_TOKEN=token) as (_, told):
        for _ in range(600):
            if asked.exists():
                break
            time.sleep(0.05)
        base = told.removesuffix("/?token=...")
        assert asked.read_text().strip() == f"{base}/" + (f"?token={token}" if token else "")
        with client_of(base) as client:
            opened = client.get(asked.read_text().strip(), follow_redirects=True)
            assert (opened.status_code, "<!doctype html>" in opened.text) == (200, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "give --token"),
        (["--token", "short"], "at least 16"),
        (["nothing-there/*.png"], "nothing-there"),
    ],
)
def test_wrong_usage_is_told_in_one_line(monkeypatch, capsys, tmp_path, arguments, message) -> None:
    monkeypatch.setattr(sys, "argv", ["upseg", "app", "--sessions", str(tmp_path), *arguments])
    monkeypatch.delenv("UPSEG_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err

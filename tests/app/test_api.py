"""The API as scripts use it: images in, segments out; jobs, sessions, corrections."""

import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.app.conftest import photo, with_levels
from tests.app.serving import served
from upseg.formats import FORMATS, read


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), max_pixels=1_000_000, uploads=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.address, timeout=300) as session:
        yield session


@pytest.fixture
def session(server) -> str:
    return server.session(with_levels(), photo())


def png_of(image: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(file, format="PNG")
        return file.getvalue()


def test_an_image_is_opened_shown_and_removed(client) -> None:
    opened = client.post("/api/sessions", params={"name": "../../a b.png"}, content=png_of(photo()))
    assert opened.status_code == 201
    facts = opened.json()
    assert (facts["name"], facts["size"], facts["segmented"]) == ("a b.png", [40, 60], False)
    assert "source" not in facts
    path = f"/api/sessions/{facts['id']}"
    tile = client.get(f"{path}/tiles/picture/0/0/0.jpg")
    assert Image.open(io.BytesIO(tile.content)).size == (60, 40)
    assert client.get(f"{path}/tiles/picture/0/0/1.jpg").status_code == 404
    assert client.get(f"{path}/tiles/secret/0/0/0.jpg").status_code == 404
    assert client.get(f"{path}/pieces/0/0/0").status_code == 422
    assert facts["id"] in [one["id"] for one in client.get("/api/sessions").json()]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        png_of(np.random.default_rng(0).random((40, 60, 3)))[:3000],
        b"II*\0" + b"\xff" * 500,
        png_of(photo((1200, 1000))),
    ],
)
def test_what_is_no_image_or_too_large_is_refused_in_one_line_without_a_path(client, server, content) -> None:
    before = len(server.desk.sessions.all())
    answer = client.post("/api/sessions", params={"name": "bad.png"}, content=content)
    assert answer.status_code == 422
    told = answer.json()["detail"]
    assert "bad.png" in told
    assert "/" not in told
    assert "\n" not in told
    assert len(server.desk.sessions.all()) == before


def test_the_map_of_pieces_comes_in_tiles(client, session) -> None:
    tile = client.get(f"/api/sessions/{session}/pieces/0/0/0").content
    pieces = np.frombuffer(tile, "<i4").reshape(40, 60)
    assert np.array_equal(np.unique(pieces), np.arange(1, 7))
    areas = np.frombuffer(client.get(f"/api/sessions/{session}/arrays/areas").content, "<i4")
    assert areas.tolist() == [0] + [400] * 6
    assert client.get(f"/api/sessions/{session}/arrays/secret").status_code == 404
    for place in ("0/1/0", "0/-1/0", "99/0/0"):
        assert client.get(f"/api/sessions/{session}/pieces/{place}").status_code in (404, 422)


def test_corrections_are_told_as_what_changed(client, session) -> None:
    path = f"/api/sessions/{session}"
    told = client.post(f"{path}/edits", json={"kind": "join", "pieces": [[3, 1], [6, 1]]}).json()
    assert (told["undo"], told["redo"], told["truth"]) == (1, 0, True)
    assert told["pins"] == [[3, 1, 7], [6, 1, 7]]
    told = client.post(f"{path}/edits", json={"kind": "paint", "strokes": [[[10, 10]]], "radius": 3}).json()
    assert told["pieces"] == 7
    assert told["box"] is not None
    assert sum(area for _, area, *_ in told["columns"]) == 400
    told = client.post(f"{path}/undo").json()
    assert (told["undo"], told["redo"], told["pieces"]) == (1, 1, 6)
    assert client.post(f"{path}/redo").json()["redo"] == 0
    state = client.get(path).json()["document"]
    assert state["undo"] == 2


@pytest.mark.parametrize(
    "edit",
    [
        {"kind": "nothing"},
        {"kind": "detail", "detail": 2},
        {"kind": "join", "pieces": [[1, 99]]},
        {"kind": "paint", "strokes": []},
        {"kind": "paint", "strokes": [[[1e300, 1]]], "radius": 1},
        {"kind": "paint", "strokes": [[["NaN", 1]]], "radius": 1},
        {"kind": "cut", "pieces": [[1, 1]], "strokes": [[[50, 50], [51, 51]]]},
        {"kind": "name", "groups": [[[1, 1]]], "category": "x" * 200},
        {"pieces": []},
    ],
)
def test_corrections_that_are_none_are_refused_and_change_nothing(client, session, edit) -> None:
    answer = client.post(f"/api/sessions/{session}/edits", json=edit)
    assert answer.status_code == 422, answer.text
    assert client.get(f"/api/sessions/{session}").json()["document"]["undo"] == 0


@pytest.mark.parametrize("form", [*FORMATS, "everything"])
def test_every_format_can_be_taken_away(client, session, form, tmp_path) -> None:
    answer = client.get(f"/api/sessions/{session}/export", params={"format": form})
    if form == "depth":
        assert answer.status_code == 422
        return
    assert answer.status_code == 200, answer.text
    name = answer.headers["content-disposition"].partition('filename="')[2].rstrip('"')
    path = tmp_path / name
    path.write_bytes(answer.content)
    if form == "everything":
        assert "photo.geojson" in zipfile.ZipFile(path).namelist()
    elif FORMATS[form].read and FORMATS[form].is_complete and not FORMATS[form].companions:
        assert np.array_equal(read(path).labels, with_levels().labels)


def test_what_is_chosen_is_cut_out_with_a_transparent_background(client, session) -> None:
    answer = client.post(f"/api/sessions/{session}/export", json={"format": "cutout", "pieces": [[1, 1], [5, 1]]})
    cut = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert cut.shape == (40, 40, 4)
    assert (cut[..., 3] > 0).sum() == 800
    assert client.post(f"/api/sessions/{session}/export", json={"pieces": []}).status_code == 422


def test_nothing_is_left_of_what_was_taken_away(server, client, session) -> None:
    client.get(f"/api/sessions/{session}/export", params={"format": "png"})
    client.get(f"/api/sessions/{session}/export", params={"format": "depth"})
    assert list(server.desk.exports.iterdir()) == []


@pytest.mark.slow
def test_a_script_segments_an_image_and_follows_a_job(client, server, tmp_path) -> None:
    image = png_of(photo())
    answer = client.post("/api/segment", params={"format": "geojson", "detail": 0.4, "name": "a.png"}, content=image)
    assert answer.status_code == 200, answer.text
    assert len(json.loads(answer.content)["features"]) >= 2
    session = client.post("/api/sessions", content=image).json()["id"]
    job = client.post(f"/api/sessions/{session}/segment").json()
    told = []
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: ")]
    assert told[-1]["status"] == "done"
    assert client.get(f"/api/sessions/{session}").json()["document"]["method"] == "dynaseg"


@pytest.mark.slow
def test_a_job_can_be_stopped(client) -> None:
    large = png_of(np.random.default_rng(0).random((900, 1100, 3), np.float32))
    session = client.post("/api/sessions", content=large).json()["id"]
    job = client.post(f"/api/sessions/{session}/segment").json()
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 202
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as stream:
        last = [line for line in stream.iter_lines() if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["status"] == "cancelled"


def test_the_page_about_the_api_lists_all_of_it(client) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/segment", "/api/sessions/{session_id}/edits", "/api/jobs/{job_id}/events"} <= set(paths)


def test_old_work_expires_and_the_folder_stays_within_its_bounds(tmp_path) -> None:
    from upseg.app.sessions import Sessions

    sessions = Sessions(tmp_path, max_stored=1000, days=30.0)
    kept = []
    for number in range(3):
        session = sessions.create(f"{number}.png")
        (session.folder / "image").write_bytes(b"x" * 600)
        session.update(used=session.facts["used"] - 100 * (3 - number))
        kept.append(session.id)
    assert sessions.tidy() == 2
    assert [session.id for session in sessions.all()] == kept[2:]
    sessions.all()[0].update(used=0)
    again = Sessions(tmp_path, max_stored=1 << 40, days=30.0)
    assert again.tidy() == 1
    assert list(tmp_path.iterdir()) == []

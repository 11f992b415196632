"""What is refused: other names and sites, no token, too much, too slow; and what every answer says to the browser."""

import socket
import time

import httpx
import pytest

from tests.app.serving import served
from upseg.app.settings import AppSettings, is_loopback
from upseg.errors import UpsegError

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), max_bytes=100_000, patience=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with served(tmp_path_factory.mktemp("closed"), token=TOKEN) as running:
        yield running


def host_of(server) -> str:
    return server.address.removeprefix("http://")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", ""])
def test_a_name_that_was_rebound_to_this_machine_is_refused(server, host) -> None:
    answer = httpx.get(server.address + "/api/jobs", headers={"Host": host})
    assert answer.status_code in (400, 403)


def test_the_names_of_this_machine_are_served(server) -> None:
    port = server.address.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        assert httpx.get(server.address + "/api/jobs", headers={"Host": f"{name}:{port}"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_requests_of_other_sites_are_refused(server, origin) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        answer = httpx.request(method, server.address + "/api/sessions", headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_what_the_browser_calls_cross_site_is_refused_but_for_a_link_to_the_page(server) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert httpx.get(server.address + "/api/sessions", headers=foreign).status_code == 403
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(server.address + "/", headers=visit).status_code == 200
    assert httpx.get(server.address + "/api/sessions", headers=visit).status_code == 403


def test_its_own_page_is_served(server) -> None:
    own = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(server.address + "/api/sessions", headers=own).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/api/about", "/static/main.js", "/api/sessions/none", "/nothing"])
def test_every_answer_has_a_strict_policy(server, path) -> None:
    headers = httpx.get(server.address + path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers or "uvicorn" in headers["server"]


def test_without_the_token_nothing_is_served(closed) -> None:
    for path in ("/", "/static/main.js", "/api/sessions", "/openapi.json", "/?token=wrong-wrong-wrong-wrong"):
        assert httpx.get(closed.address + path).status_code == 401


def test_the_token_is_taken_as_a_bearer_and_becomes_a_cookie_that_scripts_cannot_read(closed) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(closed.address + "/api/sessions", headers=bearer).status_code == 200
    with httpx.Client(follow_redirects=True) as client:
        first = client.get(closed.address + "/", params={"token": TOKEN}, follow_redirects=False)
        assert first.status_code == 303
        assert first.headers["location"] == "/"
        assert "HttpOnly" in first.headers["set-cookie"]
        assert "SameSite=Strict" in first.headers["set-cookie"]
    shown = {"Cookie": first.headers["set-cookie"].partition(";")[0]}
    assert httpx.get(closed.address + "/api/sessions", headers=shown).status_code == 200


def test_uploads_and_other_requests_have_bounds(server) -> None:
    assert httpx.post(server.address + "/api/sessions", content=b"x" * 100_001).status_code == 413

    def parts():
        for _ in range(30):
            yield b"x" * 10_000

    answer = httpx.post(server.address + "/api/sessions", content=parts())  # without saying how long it is
    assert answer.status_code == 413
    assert server.desk.sessions.all() == []


def test_an_upload_that_stops_is_let_go_with_all_that_it_left(server, caplog) -> None:
    host, _, port = host_of(server).partition(":")
    with socket.create_connection((host, int(port))) as connection:
        request = f"POST /api/sessions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5000\r\n\r\nsome"
        connection.sendall(request.encode())
        connection.settimeout(20)
        assert b"408" in connection.recv(100)
    with socket.create_connection((host, int(port))) as connection:  # goes away in the middle
        connection.sendall(request.encode())
    time.sleep(1)
    assert server.desk.sessions.all() == []
    assert caplog.records == []  # it is no mistake of the server's


@pytest.mark.parametrize(
    "path",
    ["..", "../../etc/passwd", "%2e%2e", "0" * 24, "A" * 24, "x", "0123456789abcdef01234567/../.."],
)
def test_sessions_are_not_paths(server, path) -> None:
    assert httpx.get(f"{server.address}/api/sessions/{path}").status_code in (404, 405)
    assert httpx.delete(f"{server.address}/api/sessions/{path}").status_code in (404, 405)


def test_files_beside_the_page_are_not_served(server) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"):
        assert httpx.get(server.address + path).status_code in (403, 404)


def test_models_are_not_paths(server) -> None:
    answer = httpx.post(server.address + "/api/segment", params={"model": "/tmp"}, content=b"x")
    assert answer.status_code == 422
    assert "there is no model" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "give --token"),
        ({"host": "192.168.1.5"}, "give --token"),
        ({"host": "example.org"}, "give --token"),
        ({"token": "short"}, "at least 16"),
        ({"token": "with spaces and; more"}, "fits into an address"),
        ({"port": 70000}, "between 0 and 65535"),
    ],
)
def test_settings_that_open_the_page_to_others_are_refused(tmp_path, settings, message) -> None:
    with pytest.raises(UpsegError, match=message):
        AppSettings(folder=tmp_path, **settings)


def test_loopback_is_told_from_other_addresses() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example")] == [False] * 4

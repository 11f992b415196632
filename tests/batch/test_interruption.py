"""Real processes, really killed: the next run finishes the rest and redoes nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batch.test_run import contents, run
from upseg.batch.journal import JOURNAL_NAME

ROOT = Path(__file__).parents[2]
IMAGES = 6
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A slow run over `folder`/photos that notes its processes in `folder`/pids."""
    (folder / "pids").mkdir()
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), "UPSEG_TEST_PIDS": str(folder / "pids")}
    arguments = [str(folder / "photos"), "-o", str(folder / "out"), "-m", "threshold", "-f", "png", "-f", "coco"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.batch.command_line", "segment", *arguments, "--device", "cpu", *options],
        cwd=ROOT,
        env=os.environ | paths | {"UPSEG_TEST_DELAY": "0.5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts background jobs deaf to Ctrl-C, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # noqa: PLW1509
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def finished(folder: Path) -> list[str]:
    """The images that the journal calls finished."""
    journal = folder / "out" / JOURNAL_NAME
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [record["input"] for record in records if record["event"] == "finished"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(process: subprocess.Popen[str], _: Path) -> None:
    process.kill()


def press_ctrl_c(process: subprocess.Popen[str], _: Path) -> None:
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes under /proc")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("stop", [kill, press_ctrl_c])
def test_a_run_that_was_stopped_is_finished_by_the_next(tmp_path, photos, stop, workers) -> None:
    photos(*(f"{number}.png" for number in range(IMAGES)))
    process = start(tmp_path, "--workers", workers)
    wait_until(lambda: len(finished(tmp_path)) >= 2)
    stop(process, tmp_path)
    _, errors = process.communicate(timeout=60)
    if stop is press_ctrl_c:
        assert process.returncode == 130
        message = re.fullmatch(r"upseg: stopped; (\d) of 6 images are done, the same command does the rest\n", errors)
        assert message is not None, errors
        assert len(finished(tmp_path)) - int(message[1]) in (0, 1)  # one may have been noted but not yet counted
        assert not list((tmp_path / "out").glob(".*.partial"))
    else:
        assert process.returncode == -signal.SIGKILL
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == int(workers)
    wait_until(lambda: not any(map(is_running, pids)), 10)

    done = finished(tmp_path)
    assert 2 <= len(done) < IMAGES
    before = {path: path.stat().st_mtime_ns for name in done for path in (tmp_path / "out").glob(f"{name[0]}.*")}
    summary = run(tmp_path / "photos", tmp_path / "out", formats=("png", "coco"))
    assert summary.counts() == {"done": IMAGES - len(done), "replaced": 0, "skipped": len(done), "failed": 0}
    assert before == {path: path.stat().st_mtime_ns for path in before}
    run(tmp_path / "photos", tmp_path / "undisturbed", formats=("png", "coco"))
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")

"""Which figures `make bench` compares, and what it calls worse."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
bench = pytest.importorskip("bench")
sys.path.remove(str(BENCHMARKS))


def test_times_are_found_wherever_they_stand_and_named_by_what_is_beside_them() -> None:
    report = {
        "machine": {"boot_seconds": 3.0},
        "seconds": {"all": 2.0},
        "rows": [
            {"way": "slow", "size": 64, "seconds": 4.0, "ratio": 9.0},
            {"way": "fast", "size": 64, "plain_ms": 5, "found": 3},
        ],
    }
    found = dict(bench.times_in(report))
    assert found == {"all": 2.0, "rows slow, 64 seconds": 4.0, "rows fast, 64 plain_ms": 0.005}


def test_only_what_both_have_is_compared() -> None:
    before = {"rows": [{"way": "a", "seconds": 2.0}, {"way": "b", "seconds": 1.0}]}
    now = {"rows": [{"way": "a", "seconds": 3.0}, {"way": "c", "seconds": 1.0}]}
    (only,) = bench.compare("x", before, now)
    assert (only.name, only.ratio) == ("x: rows a seconds", 1.5)


def test_another_machine_is_slower_in_all() -> None:
    compared = [bench.Comparison(str(n), 1.0, now) for n, now in enumerate((2.0, 2.1, 4.0))]
    assert bench.speed_of(compared, same_machine=False) == 2.1
    assert bench.speed_of(compared, same_machine=True) == 1


@pytest.mark.parametrize("script", bench.SCRIPTS)
def test_every_script_has_recorded_figures_with_names_of_their_own(script: str) -> None:
    recorded = list(bench.times_in(json.loads((BENCHMARKS / "results" / f"{script}.json").read_text())))
    assert (BENCHMARKS / f"{script}.py").exists()
    assert recorded
    assert len(dict(recorded)) == len(recorded)


def test_the_end_says_what_became_slower(monkeypatch, capsys) -> None:
    recorded = json.loads((BENCHMARKS / "results" / "measurements_speed.json").read_text())
    slower = {**recorded, "seconds": {name: 2 * value for name, value in recorded["seconds"].items()}}
    monkeypatch.setattr(bench, "machine_facts", lambda: recorded["machine"])
    for report, code in ((recorded, 0), (slower, 1)):
        monkeypatch.setattr(bench, "run", lambda script, folder, report=report: report)
        assert bench.main(["measurements_speed"]) == code
    assert f"{len(recorded['seconds'])} of {len(recorded['seconds'])} figures are worse" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        bench.main(["nothing"])

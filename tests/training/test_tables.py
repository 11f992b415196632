from __future__ import annotations

from upseg.training.tables import MetricsTable


def test_new_columns_are_added_behind_and_the_rest_stays(tmp_path) -> None:
    path = tmp_path / "run" / "metrics.csv"
    table = MetricsTable(path)
    table.log_metrics({"loss": 0.10000000149011612, "epoch": 0}, 0)  # float32's 0.1
    table.log_metrics({"recall": 0.5, "epoch": 0}, 0)
    table.log_metrics({"loss": 2.0, "epoch": 1}, 1)
    assert path.read_text().splitlines() == [
        "epoch,step,loss,recall",
        "0,0,0.1,",
        "0,0,,0.5",
        "1,1,2.0,",
    ]


def test_another_training_begins_a_new_table(tmp_path) -> None:
    MetricsTable(tmp_path / "metrics.csv").log_metrics({"loss": 1.5, "epoch": 0}, 0)
    MetricsTable(tmp_path / "metrics.csv").log_metrics({"other": 2.5, "epoch": 0}, 0)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,other\n0,0,2.5\n"


def test_a_resumed_training_takes_out_what_it_does_again_and_what_a_crash_cut_off(tmp_path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,loss,recall\n0,0,1.5,\n0,0,,0.25\n1,1,1.0,\n2,2,0.5,\n3,")
    MetricsTable(path, 2).log_metrics({"loss": 0.75, "epoch": 2}, 2)
    assert path.read_text() == "epoch,step,loss,recall\n0,0,1.5,\n0,0,,0.25\n1,1,1.0,\n2,2,0.75,\n"

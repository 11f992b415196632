"""Ranges of settings: what lies on a bound passes, what lies beyond it, or is no number, does not."""

from types import SimpleNamespace

import pytest

from upseg.functional.ranges import check_least, check_loss_weights, check_shares


def test_what_is_in_range_passes() -> None:
    check_least(
        SimpleNamespace(size=1, floor="silhouette", threads=None, other=-1), {"size": 1, "floor": 2, "threads": 1}
    )
    check_shares(SimpleNamespace(low=0, high=1.0, other=7), ["low", "high"])
    check_loss_weights(SimpleNamespace(dice=0, instance=50.0, other=-1), ["dice", "instance"])


@pytest.mark.parametrize("value", [0, float("nan")])
def test_too_little_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"size must be at least 1, got {value}"):
        check_least(SimpleNamespace(size=value), {"size": 1})


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"score must be between 0 and 1, got {value}"):
        check_shares(SimpleNamespace(score=value), ["score"])


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_what_is_no_weight_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"the weight dice must be a finite number of at least 0, got {value}"):
        check_loss_weights(SimpleNamespace(dice=value), ["dice"])

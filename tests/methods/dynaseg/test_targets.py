"""The floor of each image of a data set."""

import jaxtyping
import numpy as np
import pytest

from upseg.data.sample import Sample
from upseg.methods.dynaseg import targets as module
from upseg.methods.dynaseg.floor import silhouette_floor
from upseg.methods.dynaseg.targets import DynaSegTargets


def sample(colours: int) -> Sample:
    image = np.repeat(np.linspace(0, 1, colours, dtype=np.float32), 12).reshape(colours, 12)
    return Sample.from_labels(np.stack([image] * 3, axis=-1), np.zeros(image.shape, np.int32))


def test_the_floor_is_the_silhouette_s_or_the_number_given() -> None:
    one = sample(5)
    floor = DynaSegTargets(seed=3)(one)["floor"]
    assert floor.shape == ()
    assert int(floor) == silhouette_floor(one.image, seed=3) == 5
    assert int(DynaSegTargets(floor=7)(one)["floor"]) == 7


def test_an_image_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "silhouette_floor", lambda image, **_: seen.append(len(image)) or len(image))
    targets = DynaSegTargets()
    assert [int(targets(sample(k))["floor"]) for k in (4, 5, 4, 5)] == [4, 5, 4, 5]
    assert seen == [4, 5]


@pytest.mark.parametrize("floor", [0, "elbow", 2.5])
def test_other_floors_are_refused(floor: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks would come first
    with pytest.raises(ValueError, match="floor must be silhouette or a number"):
        DynaSegTargets(floor)

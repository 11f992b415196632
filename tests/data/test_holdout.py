import pickle

import pytest

from upseg.data.dataset import Dataset
from upseg.data.holdout import HashedPart, is_validation
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.errors import DataError


def scenes(count: int) -> ShapeScenes:
    return ShapeScenes(count, size=(8, 8), difficulty=0.0)


def test_the_parts_are_disjoint_and_complete() -> None:
    whole = scenes(200)
    train, validation = HashedPart(whole, "train"), HashedPart(whole, "validation")
    assert set(train.names) | set(validation.names) == set(whole.names)
    assert not set(train.names) & set(validation.names)
    assert 20 < len(validation) < 60  # 40 are expected, with a standard deviation of 5.7


def test_an_image_stays_in_its_part_when_the_data_set_grows() -> None:
    assert set(HashedPart(scenes(50), "validation").names) <= set(HashedPart(scenes(90), "validation").names)


def test_known_names_stay_where_they_are() -> None:
    # published splits depend on it: these must never change
    assert [name for name in "abcdefghij" if is_validation(name, 0.5)] == list("adehi")
    assert [name for name in "abcdefghij" if is_validation(name, 0.5, "other")] == list("abdej")


def test_samples_are_those_of_the_whole() -> None:
    whole = scenes(30)
    part = HashedPart(whole, "validation")
    for index, name in enumerate(part.names):
        sample = part[index]
        assert sample.name == name
        assert (sample.segment_map == whole[whole.names.index(name)].segment_map).all()
    assert part.categories == whole.categories


def test_a_part_can_be_sent_to_other_processes() -> None:
    part = HashedPart(scenes(30), "train")
    assert pickle.loads(pickle.dumps(part)).names == part.names


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        HashedPart(scenes(3), "train", share=1.0)
    with pytest.raises(DataError, match="none falls"):
        HashedPart(scenes(60), "validation", share=1e-9)


@pytest.mark.parametrize("count", range(2, 60))
def test_both_parts_of_every_set_have_an_image(count: int) -> None:
    whole = scenes(count)
    train, validation = HashedPart(whole, "train"), HashedPart(whole, "validation")
    assert sorted([*train.names, *validation.names]) == sorted(whole.names)
    if count < 50:
        assert len(validation) == max(1, round(count / 5))


def test_a_small_set_gives_images_of_each_folder_in_proportion() -> None:
    names = [f"{folder}/{number}" for folder in "ab" for number in range(10)]
    found = HashedPart(Named(names), "validation").names
    assert sorted(name[0] for name in found) == ["a", "a", "b", "b"]


def test_one_image_has_no_parts() -> None:
    with pytest.raises(DataError, match="at least 2 images are needed, the data set has 1"):
        HashedPart(scenes(1), "train")


class Named(Dataset):
    """Nothing but names."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = names

    @property
    def names(self) -> list[str]:
        return self._names

    def load(self, index: int) -> Sample:
        raise NotImplementedError

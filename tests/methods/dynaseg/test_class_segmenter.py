"""One network for a data set: it keeps the contract of all methods, and its labels mean the same in every image."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.methods.contract import LearnedContract, drawn_image
from upseg.errors import ModelError
from upseg.methods.dynaseg.class_segmenter import DynaSegClassSegmenter, build_class_network, label_categories
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category

SMALL = DynaSegClassesSettings("cnn", features=6, clusters=4, blocks=1, size=16)


def segmenter(settings: DynaSegClassesSettings = SMALL) -> DynaSegClassSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_class_network(settings, pretrained=False).eval()
    return DynaSegClassSegmenter(settings, categories=label_categories(settings.clusters), network=network)


class TestContract(LearnedContract):
    method = "dynaseg_classes"
    is_seeded = False

    @pytest.fixture(autouse=True)
    def _make_weights(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.weights = tmp_path_factory.getbasetemp() / "dynaseg_classes.safetensors"
        if not self.weights.exists():
            save_file(segmenter().network.state_dict(), self.weights)

    def build(self, seed: int = 0) -> DynaSegClassSegmenter:
        return DynaSegClassSegmenter(SMALL, weights=self.weights, categories=label_categories(SMALL.clusters))


@pytest.mark.parametrize("extractor", ["cnn", "resnet18-fpn", "lite0-fpn"])
def test_labels_are_those_of_the_response_at_the_image_s_size(extractor: str) -> None:
    settings = DynaSegClassesSettings(extractor, features=6, clusters=4, size=None)
    model = segmenter(settings)
    image = drawn_image(40, 52)
    with torch.inference_mode():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        expected = model.network(pixels)[0].argmax(0).numpy()
    result = model.segment(image)
    ids = np.array([0, *(segment.category.id for segment in result)])
    np.testing.assert_array_equal(ids[result.labels], expected)


def test_the_network_sees_the_shorter_side_at_the_size_of_the_settings() -> None:
    assert segmenter().shown(torch.rand(1, 3, 32, 48)).shape == (1, 3, 16, 24)
    assert segmenter().segment(drawn_image(33, 47)).shape == (33, 47)


def test_labels_are_named_after_their_classes_and_the_rest_by_number() -> None:
    classes = (Category(3, "dog"), Category(9, "sky", is_thing=False))
    names = label_categories(4, classes, np.array([-1, 1, -1, 0]))
    assert names == (
        Category(10, "label 1", is_thing=False),
        Category(9, "sky", is_thing=False),
        Category(12, "label 3", is_thing=False),
        Category(3, "dog"),
    )
    assert [c.id for c in label_categories(3)] == [0, 1, 2]


def test_a_name_for_each_label_is_needed(tmp_path: Path) -> None:
    folder = segmenter().save_pretrained(tmp_path / "model")
    weights = tmp_path / "weights.safetensors"
    shutil.copy(folder / WEIGHTS_NAME, weights)
    with pytest.raises(ModelError, match="a network of 4 labels needs a name for each, but the model lists 1"):
        DynaSegClassSegmenter(SMALL, weights=weights, categories=(Category(0, "a"),))
    save_file({}, weights)
    with pytest.raises(ModelError):
        DynaSegClassSegmenter(SMALL, weights=weights, categories=label_categories(4))

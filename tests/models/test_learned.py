"""What a loaded model computes with: its network without batch norms, and the weights that it has now."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int32

from tests.methods.contract import drawn_image
from upseg.methods.entity.extensions.cells.segmenter import CellSegmenter
from upseg.models.registry import load_model

LEAST_SAME = 0.999  # of all objects


@pytest.fixture
def model() -> CellSegmenter:
    found = load_model("nuclei", "cpu")
    assert isinstance(found, CellSegmenter)
    return found


def unfolded(model: CellSegmenter) -> CellSegmenter:
    """The same model with its network as it is."""
    return CellSegmenter(model.settings, network=model.network)


def norms(network: torch.nn.Module) -> int:
    return sum(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())


def objects_found_again(labels: Int32[np.ndarray, "h w"], others: Int32[np.ndarray, "h w"]) -> list[bool]:
    """For each object whether it covers nearly the same pixels of the other map: an IoU of .95 or more."""
    found = []
    for k in range(1, int(labels.max()) + 1):
        own = labels == k
        other = others == np.bincount(others[own]).argmax()
        found.append(bool((own & other).sum() >= 0.95 * (own | other).sum()))
    return found


def test_a_loaded_network_is_computed_without_batch_norms_and_kept_with_them(model: CellSegmenter) -> None:
    image = torch.rand(1, 3, 60, 70, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.predict(image), unfolded(model).predict(image), rtol=1e-4, atol=1e-4)
    assert norms(model.computed_network) == 0
    assert norms(model.network) > 0
    assert model.computed_network is model.computed_network


def test_a_network_that_is_handed_over_is_used_as_it_is(model: CellSegmenter) -> None:
    own = unfolded(model)
    assert own.computed_network is own.network


def test_weights_that_are_changed_count(model: CellSegmenter) -> None:
    image = torch.rand(1, 3, 33, 40)
    before = model.predict(image)
    with torch.no_grad():
        model.network.head.bias += 1
    assert not torch.equal(model.predict(image), before)
    model.network.train()
    assert model.computed_network is model.network


def test_models_can_be_loaded_and_used_where_no_gradients_are_computed() -> None:
    with torch.inference_mode():
        model = load_model("nuclei", "cpu")
        assert isinstance(model, CellSegmenter)
        assert norms(model.computed_network) == 0


def test_a_saved_model_has_the_weights_that_were_loaded(model: CellSegmenter, tmp_path: Path) -> None:
    image = drawn_image(70, 90)
    found = model.segment(image)
    again = load_model(model.save_pretrained(tmp_path / "saved"), "cpu")
    assert isinstance(again, CellSegmenter)
    torch.testing.assert_close(again.network.state_dict(), model.network.state_dict(), rtol=0, atol=0)
    assert again.segment(image) == found


@pytest.mark.skipif(not os.environ.get("UPSEG_DATA"), reason="UPSEG_DATA names no folder with real data")
def test_objects_of_real_images_are_the_same_with_batch_norms_and_without(model: CellSegmenter) -> None:
    folder = Path(os.environ["UPSEG_DATA"]) / "dsb2018" / "images"
    found: list[bool] = []
    for path in sorted(folder.iterdir())[:300:50]:
        found += objects_found_again(unfolded(model).segment(path).labels, model.segment(path).labels)
    assert len(found) > 100
    assert np.mean(found) >= LEAST_SAME

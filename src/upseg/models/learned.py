"""What the segmenters of all learned methods share: where their network comes from, and their way to model folders."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from upseg.errors import ModelError
from upseg.files import printable
from upseg.images.options import ReadingOptions
from upseg.images.reading import ImageLike
from upseg.layers.folding import folded
from upseg.models.calling import CallableModel, torch_threads
from upseg.models.folders import NETWORK_NAME, ModelConfig
from upseg.models.hub import push_to_hub
from upseg.models.registry import find_model
from upseg.models.saving import check_fit, load_weights, save_pretrained
from upseg.segmentation import Category, Progress

_Settings = TypeVar("_Settings", bound=Any)
_Network = TypeVar("_Network", bound=nn.Module)
_Segmenter = TypeVar("_Segmenter", bound="LearnedSegmenter[Any, Any]")  # the tests' shape checks cannot read `Self`


class LearnedSegmenter(CallableModel, Generic[_Settings, _Network]):
    """A segmenter with a trained network; a method adds `make_network`, `segment`, and what it asks of the classes.

    Args:
        settings: Of the model, a frozen dataclass with a field `threads`.
        device: What torch computes on: `cpu`, `cuda`, ...
        weights: A safetensors file with the network's weights, of any floating type.
        categories: The classes that the model knows; empty for class-agnostic ones.
        network: Instead of weights: a network of these settings and classes, in evaluation mode, on the device; used as
            it is.

    Raises:
        ModelError: If the weights cannot be read or are not those of the network that the settings and classes
            describe, or the method has no models with such classes.
        ValueError: If there are neither weights nor a network, or both, or the network is in training mode.

    Attributes:
        method: The name of the method, a key of `upseg.models.registry.METHODS`.
        knows_classes: Whether a model of the method can have classes.
        training: How the model came to be, from its `config.json`; as there, `data` says what it was trained on.
        description: One line for people, from its `config.json`.
        image_reading: How images are read that it is given as files, or as anything but (H, W, 3) arrays of floats.
        engine: What computes the network.
    """

    method: ClassVar[str]
    knows_classes: ClassVar[bool] = True
    training: Mapping[str, Any] = MappingProxyType({})
    description: str = ""
    image_reading: ReadingOptions = ReadingOptions()
    engine: str = "torch"

    def __init__(
        self,
        settings: _Settings,
        device: str = "cpu",
        *,
        weights: Path | None = None,
        categories: tuple[Category, ...] = (),
        network: _Network | None = None,
    ) -> None:
        self.settings, self.categories, self.device = settings, categories, torch.device(device)
        self.check_categories()
        if network is not None and network.training:
            raise ValueError("the network is in training mode; call its eval() first")
        if (network is None) == (weights is None):
            raise ValueError("give either weights (the path of a safetensors file) or a network")
        if weights is not None:
            self._check_size(weights)
            with no_first_weights(), enough_memory():
                network = self.make_network()
            load_weights(network, weights)
            network.eval().to(self.device)
        self.network = cast("_Network", network)
        self._folds, self._folded = weights is not None, (0, self.network)

    @property
    def computed_network(self) -> _Network:
        """What computes maps: the network, without batch norms where its weights came from a file.

        Made once, and anew where weights have been changed since.
        """
        if not self._folds or self.network.training or self.engine != "torch":
            return self.network
        values = [*self.network.parameters(), *self.network.buffers()]
        changes = (value._version for value in values if not value.is_inference())
        state = hash((id(self.network), *map(id, values), *changes))
        if self._folded[0] != state:
            self._folded = state, folded(self.network)
        return self._folded[1]

    def _check_size(self, weights: Path) -> None:
        """Compare the network's shapes with the file's before any of it takes memory."""
        try:
            with no_first_weights(), torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outline = self.make_network()
        except ModelError:
            raise
        except Exception:  # noqa: BLE001 - not every backbone can be made without values; it is checked when it is there
            return
        check_fit(outline, weights)

    def use_engine(self, engine: str, folder: Path) -> None:
        """Let another engine than torch compute the network, which a model folder then has as ONNX.

        Raises:
            ModelError: As `upseg.models.engines.run_by` raises it.
        """
        from upseg.models.engines import run_by

        run_by(engine, self.network, folder / NETWORK_NAME, self.settings.threads)
        self.engine = engine

    def make_network(self) -> _Network:
        """A network of the settings and classes, with any weights."""
        raise NotImplementedError

    def check_categories(self) -> None:
        """Refuse classes that the method, with these settings, has no models for: any, where it knows none.

        Raises:
            ModelError: If it has none.
        """
        if self.categories and not self.knows_classes:
            raise ModelError(f"the method {self.method} knows no classes, but the model lists {len(self.categories)}")

    @contextmanager
    def reading(self, image: ImageLike) -> Iterator[Float[Tensor, "1 3 h w"]]:
        """Read an image; within it torch computes without gradients, and with the threads that the settings say.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.

        Yields:
            (1, 3, H, W) RGB in [0, 1], on the CPU.

        Raises:
            ImageError: If the image cannot be read.
        """
        pixels = torch.from_numpy(self.image_reading.read_for_model(image)).permute(2, 0, 1)[None]
        with torch_threads(self.settings.threads), torch.inference_mode():
            yield pixels

    def provenance(self, **facts: Any) -> dict[str, Any]:
        """How a result came to be: the method, its settings as JSON has them, and further facts."""
        settings, reading = json.loads(json.dumps(asdict(self.settings))), self.image_reading.of_model()
        engine = {} if self.engine == "torch" else {"engine": self.engine}
        return {"method": self.method, "settings": settings, **reading, **engine, **facts}

    @classmethod
    def from_pretrained(
        cls: type[_Segmenter], name_path_or_hub_id: str | Path, device: str = "auto", **settings: Any
    ) -> _Segmenter:
        """Load a model of this method; arguments and errors as for `upseg.load_model`.

        Raises:
            ModelError: Also if it is a model of another method.
        """
        model = find_model(name_path_or_hub_id, **settings)
        if model.method != cls.method:
            raise ModelError(
                f"{printable(model.name)} is a model of the method {model.method}, {cls.__name__} takes those of "
                f"{cls.method}; upseg.load_model takes all"
            )
        segmenter = model.load(device)
        assert isinstance(segmenter, cls), f"METHODS makes a {type(segmenter).__name__} for {cls.method}"  # noqa: S101
        return segmenter

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write a model folder that `from_pretrained` and `--model` take; arguments and errors as for the function."""
        told = (self.categories, self.training, self.description, self.image_reading)
        config = ModelConfig(self.method, asdict(self.settings), *told)
        return save_pretrained(folder, config, self.network.state_dict(), half=half)

    def push_to_hub(self, repo_id: str, *, private: bool = False, half: bool = False) -> str:
        """Publish the model; arguments, result and errors as for `upseg.models.hub.push_to_hub`."""
        with TemporaryDirectory() as folder:
            return push_to_hub(self.save_pretrained(folder, half=half), repo_id, private=private)


@contextmanager
def no_first_weights() -> Iterator[None]:
    """Let networks be made without weights being drawn, which takes long and is in vain if they are loaded next."""
    with torch.random.fork_rng(devices=[]), _NothingDrawn():
        yield


# functions of `nn.init` are named that torch hands to a mode; what they call is then not handed on
_DRAWING = frozenset({Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_})


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return (args or (given.get("tensor"),))[0] if function in _DRAWING else function(*args, **given)


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say in one line that a network does not fit into memory, or cannot be made in such a size.

    Raises:
        ModelError: If it cannot.
    """
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MemoryError | OverflowError) or "memory" in reason or "allocate" in reason:
            raise ModelError("there is not enough memory for the network that the settings describe") from error
        raise ModelError(f"the network that the settings describe cannot be made ({reason:.200})") from error


class Steps:
    """Counts what is done of one image, of so many steps, and reports it to `progress`, or to nobody."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self) -> None:
        """One more is done."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

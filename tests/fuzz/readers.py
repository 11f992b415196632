"""Everything that upseg reads: for each kind an intact file, the reader, and whether the file says what it holds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.data.sources.trees import draw_cvat, draw_label_studio, draw_labelme, draw_yolo
from upseg.batch.journal import JOURNAL_NAME, Journal
from upseg.data.sources import open_dataset
from upseg.data.sources.bsds500 import read_annotations
from upseg.data.sources.json_index import index_json
from upseg.data.sources.label_images import read_values
from upseg.formats import read
from upseg.images.label_maps import LabelValues
from upseg.images.reading import read_image
from upseg.models.folders import packaged_models
from upseg.models.registry import find_model
from upseg.segmentation import Category, Segmentation


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: Of the file that is damaged.
        write: Writes the intact file, and what belongs to it, into a folder, and returns the path.
        read: Reads it.
        is_checked: Whether the file says what it holds, so that damage must be found: the answer is the same, or an
            error. Of others (pictures, files that people edit by hand) any answer will do.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    is_checked: bool = False


def drawn() -> Segmentation:
    """A few segments with holes, parts, a void border, scores, classes and parents."""
    labels = np.zeros((40, 52), np.int32)
    labels[3:17, 4:20] = 1
    labels[6:9, 8:12] = 0
    labels[20:35, 10:40] = 2
    labels[22:30, 15:30] = 3
    labels[36, 1] = labels[1, 45] = 4
    cell = Category(7, "Zelle", is_thing=True)
    return Segmentation.from_labels(
        labels, scores={1: 0.25, 3: 0.5}, categories={1: cell, 2: cell}, parents={3: 2}, provenance={"seed": 1}
    )


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)


def _result(suffix: str) -> Callable[[Path], Path]:
    return lambda folder: drawn().save(folder / f"x{suffix}")


def _labels(path: Path) -> Any:
    found = read(path)
    return found.labels.shape, found.labels.tobytes()


def _picture(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(picture()).save(folder / name, **options)
        return folder / name

    return write


def _read_labels(path: Path) -> np.ndarray:
    return read_values(path, LabelValues()).values


def _tiff(name: str, values: np.ndarray, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / name, values, **options)
        return folder / name

    return write


def _matlab(folder: Path) -> Path:
    from scipy.io import savemat

    cells = np.empty((1, 2), object)
    for index in range(2):
        cells[0, index] = {"Segmentation": drawn().labels.astype(np.uint16) + 1, "Boundaries": drawn().labels > 1}
    savemat(folder / "x.mat", {"groundTruth": cells}, do_compression=True)
    return folder / "x.mat"


def _journal(folder: Path) -> Path:
    record = {"version": 1, "event": "finished", "seconds": 1.5, "segments": 3, "input": "a.jpg", "source": "ab"}
    record |= {"size": 100, "mtime_ns": 5, "settings": "cd", "outputs": ["a.png", "a.json"]}
    (folder / JOURNAL_NAME).write_text(f"{json.dumps(record)}\n" * 3, encoding="ascii")
    return folder / JOURNAL_NAME


def _coco(folder: Path) -> Path:
    polygon = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 20, 1, 20.5, 15, 3, 12]]}
    runs = {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [24, 30], "counts": [100, 50, 570]}}
    data = {
        "images": [{"id": 1, "width": 30, "height": 24, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [polygon, runs],
    }
    (folder / "x.json").write_text(json.dumps(data), encoding="ascii")
    return folder / "x.json"


def _rows(path: Path) -> Any:
    index = index_json(path, {"images": "id", "annotations": "image_id"})
    return [list(index.all_rows(name)) for name in sorted(index.tables)]


def _recipe(folder: Path) -> Path:
    text = (
        "seed_everything: 0\nmodel: &m {class_path: upseg.methods.entity.task.EntityTask, init_args: {average: 0.9}}\n"
    )
    text += "data: {class_path: upseg.training.data.MixedDataModule, init_args: {train: [*m, 1.0e-4], batch_size: 4}}\n"
    (folder / "x.yaml").write_text(text, encoding="ascii")
    return folder / "x.yaml"


def _read_recipe(path: Path) -> Any:
    from upseg.training.trust import check_names
    from upseg.yaml_files import read_configuration

    check_names(read_configuration(path), str(path))


def _config(folder: Path) -> Path:
    source = packaged_models()["nuclei"]
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    return folder / "config.json"


def _tool(source: str, truth: str, draw: Callable[[Path], None]) -> Reader:
    """A data set of another tool, of which one file is damaged: all samples that can be read, or one error."""

    def write(folder: Path) -> Path:
        draw(folder)
        return folder / truth

    def read_set(path: Path) -> Any:
        root = next(parent for parent in path.parents if (parent / truth) == path)
        return [sample.segment_map.tobytes() for sample in open_dataset(source, root)]

    return Reader(f"{source} {Path(truth).name}", write, read_set)


def _weights(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file(torch.nn.Linear(3, 4).state_dict(), folder / "x.safetensors")
    return folder / "x.safetensors"


def _read_weights(path: Path) -> Any:
    import torch

    from upseg.models.saving import load_weights

    load_weights(torch.nn.Linear(3, 4), path)


_IDS = drawn().labels.astype(np.uint16)
_OME = {"axes": "CYX", "Channel": {"Name": ["a", "b"]}}
READERS = {
    reader.name: reader
    for reader in (
        *(
            Reader(suffix.lstrip("."), _result(suffix), _labels, is_checked=True)
            for suffix in (".png", ".tif", ".json", ".panoptic.json", ".geojson", ".svg", ".npz")
        ),
        Reader("labelme", _result(".labelme.json"), _labels),
        Reader("coco of others", _coco, lambda path: read(path, format="coco").labels.tobytes()),
        Reader("image png", _picture("x.png"), read_image),
        Reader("image jpeg", _picture("x.jpg"), read_image),
        Reader("image webp", _picture("x.webp"), read_image),
        Reader("image gif", _picture("x.gif"), read_image),
        Reader("image bmp", _picture("x.bmp"), read_image),
        Reader("image tiff", _tiff("x.tif", picture(), compression="lzw", photometric="rgb"), read_image),
        Reader(
            "image ome-tiff",
            _tiff("x.ome.tif", _IDS[None].repeat(2, 0), metadata=_OME),
            lambda path: read_image(path, channels=[0]),
        ),
        Reader("labels tiff", _tiff("y.tif", _IDS, compression="zstd", tile=(16, 16)), _read_labels),
        Reader("labels png", lambda f: _saved(f / "y.png"), _read_labels),
        Reader(
            "matlab", _matlab, lambda path: [(m.shape, m.tobytes()) for m in read_annotations(path)], is_checked=True
        ),
        Reader("json index", _coco, _rows),
        Reader("journal", _journal, lambda path: Journal(path.parent).knows("a.png")),
        Reader("recipe", _recipe, _read_recipe),
        Reader("model", _config, lambda path: find_model(path.parent).settings),
        Reader("weights", _weights, _read_weights),
        _tool("yolo", "data.yaml", draw_yolo),
        _tool("yolo", "labels/val/a.txt", draw_yolo),
        _tool("cvat", "labelmap.txt", draw_cvat),
        _tool("cvat", "SegmentationClass/a.png", draw_cvat),
        _tool("labelme", "a.json", draw_labelme),
        _tool("label-studio", "tasks.json", draw_label_studio),
    )
}
try:
    import roifile  # noqa: F401
except ImportError:
    pass
else:
    READERS["imagej"] = Reader("imagej", _result(".roi.zip"), _labels)


def _saved(path: Path) -> Path:
    Image.fromarray(_IDS.astype(np.uint8)).save(path)
    return path


def answer(reader: Reader, path: Path) -> Any:
    """What the reader says; warnings are words, and allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reader.read(path)

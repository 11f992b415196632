"""Readers of data sets in their official layouts, one per file, and `open_dataset`, which chooses among them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from upseg.data.dataset import Dataset, OnError
from upseg.data.sources.folders import nearest_contents, read_names
from upseg.errors import DataError, ImageError, ModelError
from upseg.images.options import ReadingOptions
from upseg.settings import check_settings

__all__ = ["SOURCES", "Dataset", "Source", "open_dataset"]


@dataclass(frozen=True)
class Source:
    """One kind of data set that can be opened by name.

    Attributes:
        name: What `open_dataset` and the command line call it.
        description: One line for people.
        layout: What has to be in the folder.
        reader: Where its reader is, as `module:name`; imported when it is needed.
        preset: Options of the reader that this name stands for.
    """

    name: str
    description: str
    layout: str
    reader: str
    preset: tuple[tuple[str, Any], ...] = ()

    def load_reader(self) -> Callable[..., Dataset]:
        """Import the reader."""
        module, _, attribute = self.reader.partition(":")
        reader: Callable[..., Dataset] = getattr(import_module(f"{__name__}.{module}"), attribute)
        return partial(reader, **dict(self.preset)) if self.preset else reader

    def options_class(self) -> type:
        """A dataclass with the options that the reader has beside folder, split and `on_error`."""
        parameters = inspect.signature(self.load_reader(), eval_str=True).parameters
        taken = {"root", "split", "on_error", *(name for name, _ in self.preset)}
        return make_dataclass(
            f"options of {self.name}",
            [(name, p.annotation, field(default=p.default)) for name, p in parameters.items() if name not in taken],
        )


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "folder",
            "your own images with label maps, class masks or COCO JSON",
            "images/ beside labels/, masks/ or *.json",
            "plain_folder:open_folder",
        ),
        Source(
            "coco-panoptic",
            "COCO panoptic, things and stuff",
            "annotations/panoptic_{split}.json, annotations/panoptic_{split}/*.png, {split}/*.jpg; or as folder",
            "coco_layouts:open_panoptic",
        ),
        Source(
            "coco-instances",
            "COCO instances",
            "annotations/instances_{split}.json, {split}/*.jpg; or as folder",
            "coco_layouts:open_instances",
        ),
        Source(
            "coco-stuff",
            "COCO-Stuff, 182 classes",
            "stuffthingmaps_trainval2017/{split}/*.png, images/{split}/*.jpg; or as folder",
            "coco_layouts:open_stuff",
        ),
        Source(
            "coco-stuff27",
            "COCO-Stuff merged into 27 classes",
            "as coco-stuff",
            "coco_layouts:open_stuff",
            (("merged", True),),
        ),
        Source(
            "ade20k",
            "ADE20K as prepared for the challenges, 150 classes",
            "images/{split}/*.jpg, annotations/{split}/*.png, annotations_instance/{split}/*.png",
            "ade20k:open_ade20k",
        ),
        Source(
            "ade20k-full",
            "ADE20K, the full release with a mask for each object",
            "images/ADE/{split}/**/NAME.jpg, NAME.json, NAME/*.png",
            "ade20k_full:ADE20KFull",
        ),
        Source(
            "cihp",
            "CIHP, parts of people",
            "{split}/Images/*.jpg, {split}/Category_ids/*.png, {split}/Human_ids/*.png",
            "cihp:CIHP",
        ),
        Source(
            "cityscapes",
            "Cityscapes, fine annotations",
            "leftImg8bit/{split}/*/*.png, gtFine/{split}/*/*_instanceIds.png",
            "cityscapes:open_cityscapes",
        ),
        Source(
            "voc2012",
            "PASCAL VOC 2012, and SBD as split trainaug",
            "JPEGImages/, SegmentationClass/, SegmentationObject/, ImageSets/Segmentation/*.txt",
            "voc2012:VOC2012",
        ),
        Source(
            "bsds500",
            "BSDS500, several annotators",
            "images/{split}/*.jpg, groundTruth/{split}/*.mat",
            "bsds500:BSDS500",
        ),
        Source(
            "dsb2018",
            "Data Science Bowl 2018, nuclei",
            "stage1_train/NAME/images/*.png, stage1_train/NAME/masks/*.png",
            "dsb2018:DSB2018",
        ),
        Source(
            "evican",
            "EVICAN, cells and nuclei",
            "instances_{split}2019_EVICAN2.json, EVICAN_{split}2019/*",
            "evican:EVICAN",
        ),
        Source("sa-1b", "SA-1B, masks without classes", "sa_*.jpg beside sa_*.json", "sa1b:SA1B"),
        Source(
            "entityseg",
            "EntitySeg, entities in high resolution",
            "entityseg_insseg_{split}.json, entity_0*/**",
            "entityseg:EntitySeg",
        ),
        Source(
            "yolo",
            "YOLO segmentation, a line for each object",
            "data.yaml, images/{split}/*, labels/{split}/*.txt",
            "yolo:Yolo",
        ),
        Source(
            "cvat",
            "CVAT's segmentation masks",
            "labelmap.txt, SegmentationClass/*.png, SegmentationObject/*.png, JPEGImages/* or images/*",
            "cvat_masks:CvatMasks",
        ),
        Source("labelme", "labelme's JSON files", "*.json, each beside its image", "labelme_folder:LabelmeFolder"),
        Source(
            "label-studio",
            "Label Studio's JSON export, brushed regions and polygons",
            "*.json, images/*",
            "label_studio:LabelStudio",
        ),
        Source(
            "nyuv2",
            "NYUv2, the labelled subset or folders of images and depth (KITTI's too)",
            "nyu_depth_v2_labeled.mat, or rgb/* beside depth/*",
            "nyuv2:open_nyuv2",
        ),
    )
}


def open_dataset(
    source: str,
    path: str | Path | None = None,
    *,
    split: str | None = None,
    on_error: OnError = "raise",
    images: str | Path | Iterable[str] | None = None,
    decode_images: bool = True,
    channels: Sequence[int] | None = None,
    normalize: str | None = None,
    **options: Any,
) -> Dataset:
    """Open a data set in its official layout; samples are read one at a time, when they are asked for.

    Args:
        source: A name in `SOURCES`, or `name:path` with both.
        path: The folder (or file) of the data set.
        split: Such as train or val; what None stands for the reader says.
        on_error: What to do with damaged samples and with files that lack their partners: raise a `DataError`, or skip
            them with a warning and count them in `Dataset.problems`.
        images: Only these images: their names, or a text file with one name in each line.
        decode_images: Whether reading a sample also decodes its image.
        channels: Which channels of the images to take, as `upseg.images.reading.read_image` has it.
        normalize: How samples of the images become numbers in [0, 1], likewise.
        **options: What the reader takes beside this.

    Raises:
        DataError: If there is no such data set, something of it is missing, or an option is not the reader's.

    Example:
        >>> from upseg.data import draw_scene
        >>> scene = draw_scene(7)
        >>> for folder in ("images", "labels"):
        ...     Path(folder).mkdir()
        >>> _ = scene.to_segmentation().save("labels/a.png")
        >>> _ = scene.to_segmentation().save("images/a.png")  # any image of that size
        >>> dataset = open_dataset("folder", ".")
        >>> dataset[0].name, len(dataset[0].segments) == len(scene.segments)
        ('a', True)
    """
    if path is None:
        source, _, place = source.partition(":")
        if not place:
            raise DataError(f"give the place of the data set: open_dataset({source!r}, path) or '{source}:path'")
        path = place
    if source not in SOURCES:
        raise DataError(f"there is no data set {source!r}; there are {', '.join(SOURCES)}")
    chosen, root = SOURCES[source], Path(path).expanduser()
    try:
        checked = check_settings(options, chosen.options_class())
        reading = ReadingOptions(None if channels is None else tuple(channels), normalize=normalize)
    except (ImageError, ModelError) as error:
        raise DataError(f"{source}: {error}") from error
    if not root.exists():
        raise DataError(f"{root} should hold {chosen.layout}, but it does not exist; {nearest_contents(root)}")
    dataset = chosen.load_reader()(root, split, on_error=on_error, **checked)
    dataset.decode_images, dataset.reading = decode_images, reading
    if images is None:
        return dataset
    return dataset.subset(read_names(Path(images), "names of images") if isinstance(images, str | Path) else images)

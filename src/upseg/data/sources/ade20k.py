"""ADE20K as prepared for the 2016 and 2017 challenges: 20,210 + 2,000 photos, 150 classes (Zhou et al. 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import PairedFiles, choose_split, find_folder, list_files
from upseg.data.sources.label_images import (
    check_not_empty,
    class_segments,
    labelled_sample,
    read_colour_image,
    read_label_image,
)
from upseg.data.sources.panoptic_json import PanopticJson
from upseg.errors import DataError
from upseg.segmentation import Category

# Source: the challenge's objectInfo150, first name of each class, in the order of the ids 1 to 150.
_NAMES = """
wall; building; sky; floor; tree; ceiling; road; bed; window; grass; cabinet; sidewalk; person; earth; door; table;
mountain; plant; curtain; chair; car; water; painting; sofa; shelf; house; sea; mirror; rug; field; armchair; seat;
fence; desk; rock; wardrobe; lamp; bathtub; railing; cushion; base; box; column; signboard; chest of drawers; counter;
sand; sink; skyscraper; fireplace; refrigerator; grandstand; path; stairs; runway; case; pool table; pillow; screen
door; stairway; river; bridge; bookcase; blind; coffee table; toilet; flower; book; hill; bench; countertop; stove;
palm; kitchen island; computer; swivel chair; boat; bar; arcade machine; hovel; bus; towel; light; truck; tower;
chandelier; awning; streetlight; booth; television; airplane; dirt track; apparel; pole; land; bannister; escalator;
ottoman; bottle; buffet; poster; stage; van; ship; fountain; conveyer belt; canopy; washer; plaything; swimming pool;
stool; barrel; basket; waterfall; tent; bag; minibike; cradle; oven; ball; food; step; tank; trade name; microwave;
pot; animal; bicycle; lake; dishwasher; screen; blanket; sculpture; hood; sconce; vase; traffic light; tray; ashcan;
fan; pier; crt screen; plate; monitor; bulletin board; shower; radiator; glass; clock; flag
"""

# Source: the instance challenge's table of categories: the class of each of its ids 1 to 100.
_THINGS = """
8 9 11 13 15 16 19 20 21 23 24 25 28 31 32 33 34 36 37 38 39 40 42 43 44 45 46 48 50 51 54 56 57 58 59 63 65 66 67 68
70 71 72 73 74 75 76 77 79 81 82 83 84 86 87 88 89 90 91 93 94 96 98 99 103 104 105 108 109 111 112 113 116 117 119 120
121 122 124 125 126 127 128 130 131 133 134 135 136 137 138 139 140 143 144 145 147 148 149 150
"""

THINGS: tuple[int, ...] = tuple(map(int, _THINGS.split()))
"""The class id of each id of the instance challenge, which begin with 1."""

CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, is_thing=number in THINGS)
    for number, name in enumerate(" ".join(_NAMES.split()).split("; "), start=1)
)
"""The 150 classes with their ids in the challenge, which begin with 1."""

STUFF_NAMES: frozenset[str] = frozenset(category.name for category in CATEGORIES if not category.is_thing)
"""The first names of the 50 classes that are stuff."""


_THINGS_FROM = len(CATEGORIES) + 2  # labels of things, above those of classes
_SPLITS = {"train": "training", "val": "validation"}


class ADE20K(PairedFiles):
    """One split of the challenges' files: stuff from the class maps, things from the instance maps, put together.

    Layout: `images/{split}/*.jpg`; `annotations/{split}/*.png`, also called `annotations_sceneparsing`, with the
    classes 1 to 150, 0 unlabelled; and `annotations_instance/{split}/*.png`, red the category 1 to 100, green the
    instance. Things of the class map that the instance map lacks are unlabelled, as in the panoptic files that others
    prepare from these.

    Args:
        root: The folder that holds `images`, or the one above it.
        split: training or validation (train and val will do); None for validation, or the only one there is.
        instances: Whether to read the instance maps; without them all things of a class are one crowd.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", instances: bool = True
    ) -> None:
        root = ade20k_root(root)
        split = ade20k_split(root, split)
        images = find_folder(root, (f"images/{split}",), "ADE20K's images")
        classes = find_folder(
            root, (f"annotations/{split}", f"annotations_sceneparsing/{split}"), "the class maps of scene parsing"
        )
        self._instances = None
        if instances:
            holds = "the maps from annotations_instance.tar (instances=False does without)"
            self._instances = find_folder(root, (f"annotations_instance/{split}",), holds)
        super().__init__(
            list_files(images, (".jpg",), "ADE20K's images"),
            list_files(classes, (".png",), "the class maps"),
            CATEGORIES,
            on_error,
        )

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Put the two maps of one image together."""
        classes = read_label_image(truth)
        by_id = {category.id: category for category in CATEGORIES}
        labels, categories, crowds = class_segments(classes, by_id, {0}, truth)
        check_not_empty(labels, truth)
        if self._instances is not None:
            path = self._instances / f"{truth.stem}.png"
            colours = read_colour_image(path).astype(np.int64)
            if colours.shape[:2] != classes.shape:
                raise DataError(f"{path}: the map is {colours.shape[:2]} pixels, but {truth} is {classes.shape}")
            owners = _owners(colours[..., 0], colours[..., 1], path)
            stuff = np.where(np.isin(labels, list(crowds)), 0, labels)
            labels = np.where(colours[..., 1] > 0, colours[..., 1] + _THINGS_FROM, stuff)
            categories |= {value + _THINGS_FROM: by_id[THINGS[kind - 1]] for value, kind in owners.items()}
            crowds = set()
        return labelled_sample(image, labels, truth, categories=categories, crowds=crowds, name=name)


def _owners(kinds: Integer[np.ndarray, "h w"], instances: Integer[np.ndarray, "h w"], path: Path) -> dict[int, int]:
    """The category 1 to 100 of each instance."""
    owners: dict[int, int] = {}
    for instance, kind in (divmod(pair, 256) for pair in np.unique(instances * 256 + kinds).tolist()):
        if instance == 0:
            continue
        if not 1 <= kind <= len(THINGS):
            raise DataError(f"{path}: instance {instance} has the category {kind}; the categories are 1 to 100")
        if instance in owners:
            raise DataError(f"{path}: instance {instance} has the categories {owners[instance]} and {kind}, not one")
        owners[instance] = kind
    return owners


def open_ade20k(
    root: Path, split: str | None = None, *, on_error: OnError = "raise", instances: bool = True
) -> Dataset:
    """Open the challenges' files: those prepared as COCO panoptic where they are there, else the maps they come from.

    The prepared files are `ade20k_panoptic_{train,val}.json` and the folder of PNGs of that name; they number
    the classes from 0.

    Args:
        root: The folder that holds `images`, or the one above it.
        split: training or validation (train and val will do); None for validation, or the only one there is.
        on_error: What to do with damaged samples.
        instances: Whether things are told apart; without, only the class maps are read.
    """
    root = ade20k_root(root)
    full = ade20k_split(root, split)
    short = next((name for name, folder in _SPLITS.items() if folder == full), full)
    prepared = root / f"ade20k_panoptic_{short}.json"
    if not (instances and prepared.is_file()):
        return ADE20K(root, full, on_error=on_error, instances=instances)
    pngs = find_folder(root, (prepared.stem,), f"the PNGs of {prepared.name}")
    images = find_folder(root, (f"images/{full}",), "ADE20K's images")
    return PanopticJson(prepared, pngs, [images], on_error=on_error)


def ade20k_root(root: Path) -> Path:
    """The folder that holds `images`: the named one, or what the archive unpacks to below it."""
    return next((root / part for part in (".", "ADEChallengeData2016") if (root / part / "images").is_dir()), root)


def ade20k_split(root: Path, split: str | None) -> str:
    """The full name of a split that is there."""
    folder = find_folder(root, ("images",), "the folders training and validation")
    there = [path.name for path in folder.iterdir() if path.is_dir()]
    return choose_split(_SPLITS.get(split, split) if split else None, there, folder)

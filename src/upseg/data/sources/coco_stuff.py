"""COCO-Stuff: the photos of COCO 2017 with a class for each pixel, of 91 things and 91 stuffs (Caesar et al. 2018)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import PairedFiles, choose_split, find_folder, list_files
from upseg.data.sources.label_images import class_segments, labelled_sample, read_label_image
from upseg.segmentation import Category

_LAST_THING = 91  # ids 1 to 91 are COCO's things (eleven of which no image has), 92 to 182 stuff

# Source: labels.txt of COCO-Stuff, in the order of the ids 1 to 182.
_NAMES = """
person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant; street sign; stop
sign; parking meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear; zebra; giraffe; hat; backpack;
umbrella; shoe; eye glasses; handbag; tie; suitcase; frisbee; skis; snowboard; sports ball; kite; baseball bat;
baseball glove; skateboard; surfboard; tennis racket; bottle; plate; wine glass; cup; fork; knife; spoon; bowl;
banana; apple; sandwich; orange; broccoli; carrot; hot dog; pizza; donut; cake; chair; couch; potted plant; bed;
mirror; dining table; window; desk; toilet; door; tv; laptop; mouse; remote; keyboard; cell phone; microwave; oven;
toaster; sink; refrigerator; blender; book; clock; vase; scissors; teddy bear; hair drier; toothbrush; hair brush;
banner; blanket; branch; bridge; building-other; bush; cabinet; cage; cardboard; carpet; ceiling-other;
ceiling-tile; cloth; clothes; clouds; counter; cupboard; curtain; desk-stuff; dirt; door-stuff; fence; floor-marble;
floor-other; floor-stone; floor-tile; floor-wood; flower; fog; food-other; fruit; furniture-other; grass; gravel;
ground-other; hill; house; leaves; light; mat; metal; mirror-stuff; moss; mountain; mud; napkin; net; paper;
pavement; pillow; plant-other; plastic; platform; playingfield; railing; railroad; river; road; rock; roof; rug;
salad; sand; sea; shelf; sky-other; skyscraper; snow; solid-other; stairs; stone; straw; structural-other; table;
tent; textile-other; towel; tree; vegetable; wall-brick; wall-concrete; wall-other; wall-panel; wall-stone;
wall-tile; wall-wood; water-other; waterdrops; window-blind; window-other; wood
"""

# Source: the table `fine_index_to_coarse_index` that came into use with Ji et al. 2019 (IIC); it follows the
# super-categories of COCO-Stuff's own hierarchy. The 27 classes in their order, twelve of things and fifteen of stuff.
_MERGED_NAMES = """
electronic-things; appliance-things; food-things; furniture-things; indoor-things; kitchen-things; accessory-things;
animal-things; outdoor-things; person-things; sports-things; vehicle-things; ceiling-stuff; floor-stuff; food-stuff;
furniture-stuff; rawmaterial-stuff; textile-stuff; wall-stuff; window-stuff; building-stuff; ground-stuff;
plant-stuff; sky-stuff; solid-stuff; structural-stuff; water-stuff
"""
_MERGED_THINGS = 12
# For each id the number of its merged class.
_MERGED = """
9 11 11 11 11 11 11 11 11 8 8 8 8 8 8 7 7 7 7 7 7 7 7 7 7 6 6 6 6 6 6 6 6 10 10 10 10 10 10 10 10 10 10 5 5 5 5 5 5
5 5 2 2 2 2 2 2 2 2 2 2 3 3 3 3 3 3 3 3 3 3 0 0 0 0 0 0 1 1 1 1 1 1 4 4 4 4 4 4 4 4 17 17 22 20 20 22 15 25 16 13 12
12 17 17 23 15 15 17 15 21 15 25 13 13 13 13 13 22 26 14 14 15 22 21 21 24 20 22 15 17 16 15 22 24 21 17 25 16 21 17
22 16 21 21 25 21 26 21 24 20 17 14 21 26 15 23 20 21 24 15 24 22 25 15 20 17 17 22 14 18 18 18 18 18 18 18 26 26 19
19 24
"""


def _split(text: str) -> list[str]:
    return " ".join(text.split()).split("; ")


CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, is_thing=number <= _LAST_THING) for number, name in enumerate(_split(_NAMES), start=1)
)
"""The 182 classes with their ids in COCO-Stuff."""

MERGED_CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, is_thing=number < _MERGED_THINGS) for number, name in enumerate(_split(_MERGED_NAMES))
)
"""The 27 merged classes, numbered from 0."""

MERGED_OF: dict[int, Category] = {
    category.id: MERGED_CATEGORIES[int(number)] for category, number in zip(CATEGORIES, _MERGED.split(), strict=True)
}
"""The merged class of each id."""


_UNLABELLED = 255  # the pixel maps hold each class's id minus one


class CocoStuff(PairedFiles):
    """One split: pixel maps as in `stuffthingmaps_trainval2017.zip`, and COCO's images.

    The maps are looked for in `annotations/{split}`, `stuffthingmaps_trainval2017/{split}`, `stuffthingmaps/{split}`
    and `{split}`, the images in `images/{split}` and `{split}`. All pixels of a class are one segment; those of things
    are crowds, because the maps do not tell objects apart.

    Args:
        root: The folder that holds these.
        split: train2017 or val2017 (train and val will do); None for val2017, or the only one there is.
        merged: Whether to merge the classes into 27, as the protocols for learning without labels do.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", merged: bool = False
    ) -> None:
        places = ("annotations", "stuffthingmaps_trainval2017", "stuffthingmaps", "images", ".")
        there = [name for place in places for name in ("train2017", "val2017") if (root / place / name).is_dir()]
        split = choose_split(split, there, root)
        images = find_folder(root, (f"images/{split}", split), f"COCO's images of {split}")
        maps = find_folder(
            root,
            [f"{place}/{split}" for place in places if place != "images"],
            "the pixel maps from stuffthingmaps_trainval2017.zip",
        )
        super().__init__(
            list_files(images, (".jpg",), "COCO's images"),
            list_files(maps, (".png",), "COCO-Stuff's pixel maps"),
            MERGED_CATEGORIES if merged else CATEGORIES,
            on_error,
        )
        self._table = {c.id - 1: MERGED_OF[c.id] if merged else c for c in CATEGORIES}

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one pixel map."""
        classes = read_label_image(truth)
        labels, categories, crowds = class_segments(classes, self._table, {_UNLABELLED}, truth)
        return labelled_sample(image, labels, truth, categories=categories, crowds=crowds, name=name)

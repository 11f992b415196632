"""The classes of COCO-Stuff, and their merging into 27 (Caesar et al. 2018; Ji et al. 2019)."""

from __future__ import annotations

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

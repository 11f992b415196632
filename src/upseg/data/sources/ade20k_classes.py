"""The 150 classes of ADE20K's scene parsing challenge, 100 of which are things in its instance challenge."""

from __future__ import annotations

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

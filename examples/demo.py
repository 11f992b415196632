"""From a photo to segments in Python: one fit, three levels of detail, and files for people and other programs.

Run `python examples/demo.py` for a sample photo with results in out/, or `python examples/demo.py photo.jpg -o folder`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from upseg import Segmentation
from upseg.formats import FORMATS, output_paths, side_by_side, write
from upseg.images.reading import read_image
from upseg.methods.dynaseg import DynaSegSegmenter

DETAILS = (0.2, 0.5, 0.8)  # from few large segments to many small ones; 0.5 is what `upseg segment` takes by itself
SAVED_DETAIL = 0.5


def main() -> None:
    """Segment the photo, write the files, and say where they are."""
    wanted = arguments()
    name = wanted.photo.stem if wanted.photo else "coffee"
    image = read_image(wanted.photo or data.coffee())  # (H, W, 3), RGB in [0, 1]
    height, width = image.shape[:2]
    say(f"Segmenting {wanted.photo or 'a sample photo'}, {width} x {height} pixels; no training, no labels ...")

    started = time.perf_counter()
    hierarchy = DynaSegSegmenter().hierarchy(image)  # the network is fitted once, whatever the level of detail
    say(f"  fitted in {time.perf_counter() - started:.1f} s")
    levels = {detail: Segmentation.from_labels(hierarchy.at(detail)) for detail in DETAILS}
    for detail, level in levels.items():
        say(f"  detail {detail}: {len(level)} segments")

    say("Results:")
    for form in ("png", "coco", "overlay"):
        path = write(levels[SAVED_DETAIL], output_paths(wanted.output / name, form)[0], format=form, image=image)
        say(f"  {path}  {FORMATS[form].description}")
    path = wanted.output / f"{name}.levels.jpg"
    Image.fromarray(picture_of_levels(image, levels)).save(path, quality=90)
    say(f"  {path}  picture: the photo and the three levels side by side; look at this one first")


def picture_of_levels(image: np.ndarray, levels: dict[float, Segmentation]) -> np.ndarray:
    """The photo and each level drawn over it, in one row: (h, w, 3) RGB."""
    photo = np.round(image * 255).astype(np.uint8)
    drawn = [level.overlay(image) for level in levels.values()]
    captions = [f"detail {detail}: {len(level)} segments" for detail, level in levels.items()]
    return side_by_side([photo, *drawn], ["photo", *captions])


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, help="without one: a cup of coffee, from scikit-image")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), help="folder for the results")
    wanted = parser.parse_args()
    if wanted.photo and wanted.photo.resolve().parent == wanted.output.resolve():
        parser.error("the results would lie beside the photo and could replace it; name another folder with --output")
    return wanted


def say(text: str) -> None:
    """Print at once, into a pipe too."""
    print(text, flush=True)


if __name__ == "__main__":
    main()

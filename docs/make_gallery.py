"""Makes the page gallery.md and its pictures, and coffee.png of the front page: `python docs/make_gallery.py`.

Twenty photos, drawings and scans that come with scikit-image and scikit-learn. Each is segmented by `dynaseg`, every
level of detail from the same hierarchy, and by the model `photos`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from upseg import Segmentation, load_model
from upseg.formats import side_by_side
from upseg.images.reading import read_image
from upseg.methods.dynaseg import DynaSegSegmenter
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL

DOCS = Path(__file__).parent
PAGE = DOCS / "gallery.md"
PICTURES = DOCS / "_static" / "gallery"
FRONT_PICTURE = DOCS / "_static" / "coffee.png"

DETAILS = (0.2, 0.4, 0.7)
FRONT_DETAILS = (0.2, DEFAULT_DETAIL, 0.8)
PANEL_PIXELS = 150_000  # of one photo in a picture
FRONT_HEIGHT = 240
MOST_BYTES = 150_000


@dataclass(frozen=True)
class Photo:
    """One sample photo.

    Attributes:
        name: The function of `skimage.data` that reads it, or the file among scikit-learn's samples; and the name of
            the pictures.
        title: What it shows.
        source: Whose it is, and under which terms.
    """

    name: str
    title: str
    source: str

    def read(self) -> Float32[np.ndarray, "h w 3"]:
        """The pixels."""
        if self.name in ("china", "flower"):
            return read_image(load_sample_image(f"{self.name}.jpg"))
        return read_image(getattr(data, self.name)())


PHOTOS = (
    Photo("coffee", "A cup of coffee", "Rachel Michetti, CC0"),
    Photo("astronaut", "Eileen Collins", "NASA, public domain"),
    Photo("chelsea", "Chelsea the cat", "Stéfan van der Walt, CC0"),
    Photo("rocket", "Launch of a Falcon 9", "SpaceX, public domain"),
    Photo("camera", "A photographer, without colours", "Lav Varshney, CC0"),
    Photo("coins", "Greek coins from Pompeii", "Brooklyn Museum, no known copyright restrictions"),
    Photo("immunohistochemistry", "Stained glands of the colon", "CMMI, no known copyright restrictions"),
    Photo("retina", "A retina, 2 megapixels", "Mikael Häggström, CC0"),
)
MORE = (
    Photo("china", "A Chinese palace", "danielbuechele, CC BY 2.0, from scikit-learn"),
    Photo("flower", "A flower", "vultilion, CC BY 2.0, from scikit-learn"),
    Photo("clock", "A clock, moved while it was taken", "Stéfan van der Walt, public domain"),
    Photo("hubble_deep_field", "Galaxies", "NASA, public domain"),
    Photo("brick", "Bricks", "CC0 Textures, CC0"),
    Photo("grass", "Grass", "linolafett, CC0"),
    Photo("gravel", "Gravel", "CC0 Textures, CC0"),
    Photo("microaneurysms", "A part of a retina, without colours", "Andreas Maier, CC0"),
    Photo("cell", "A cell under a microscope", "Müller and others 2018, CC0"),
    Photo("horse", "A drawn horse", "Andreas Preuss, CC0"),
    Photo("text", "Text", "Wikipedia, public domain"),
    Photo("logo", "A drawn snake", "the logo of scikit-image"),
)
"""With one picture each."""

INTRODUCTION = f"""\
# Gallery

Twenty photos, drawings and scans, with what is done badly: each beside its segments by `dynaseg` at the default level
of detail ({DEFAULT_DETAIL}) and by `photos`, the default of `upseg segment`; below the first eight, three other levels
of the hierarchy ({", ".join(map(str, DETAILS))}). `python docs/make_gallery.py` makes this page.
"""


def main() -> None:
    """Segment the photos, and write the pictures and the page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION]
    for photo in (*PHOTOS, *MORE):
        image = photo.read()
        hierarchy = DynaSegSegmenter().hierarchy(image)
        levels = {
            detail: Segmentation.from_labels(hierarchy.at(detail))
            for detail in {*DETAILS, *FRONT_DETAILS, DEFAULT_DETAIL}
        }
        print(photo.name, {detail: len(levels[detail]) for detail in sorted(levels)}, flush=True)
        learned = load_model("photos", "cpu").segment(image)
        first = panels(image, levels, [DEFAULT_DETAIL], with_photo=True, learned=learned)
        save_within_limit(first, PICTURES / f"{photo.name}.jpg")
        if photo in PHOTOS:
            save_within_limit(panels(image, levels, DETAILS), PICTURES / f"{photo.name}-details.jpg")
        sections.append(section(photo, levels, len(learned)))
        if photo.name == "coffee":
            save_front_picture(panels(image, levels, FRONT_DETAILS, with_photo=True))
    PAGE.write_text("\n".join(sections), encoding="utf-8")


def panels(
    image: np.ndarray,
    levels: dict[float, Segmentation],
    details: Iterable[float],
    *,
    with_photo: bool = False,
    learned: Segmentation | None = None,
) -> np.ndarray:
    """The photo, if wanted, and some levels drawn over it, in one row: (h, w, 3) RGB."""
    pictures = [np.round(image * 255).astype(np.uint8)] if with_photo else []
    captions = ["photo"] if with_photo else []
    for detail in details:
        pictures.append(levels[detail].overlay(image))
        captions.append(f"detail {detail}: {len(levels[detail])} segments")
    if learned is not None:
        pictures.append(learned.overlay(image))
        captions.append(f"photos: {len(learned)} segments")
    return side_by_side([reduced(picture) for picture in pictures], captions)


def reduced(picture: np.ndarray) -> np.ndarray:
    """A picture of at most `PANEL_PIXELS`."""
    factor = min(1.0, (PANEL_PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5)
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def save_within_limit(picture: np.ndarray, path: Path) -> None:
    """Write a JPEG of the best quality that keeps to `MOST_BYTES`."""
    for quality in range(90, 20, -5):
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            path.write_bytes(buffer.getvalue())
            return
    raise ValueError(f"{path} does not get below {MOST_BYTES} bytes; reduce PANEL_PIXELS")


def save_front_picture(picture: np.ndarray) -> None:
    """Write the README's picture with a palette, which keeps it small."""
    size = (round(picture.shape[1] * FRONT_HEIGHT / picture.shape[0]), FRONT_HEIGHT)
    small = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(FRONT_PICTURE, optimize=True)


def section(photo: Photo, levels: dict[float, Segmentation], learned: int) -> str:
    """The part of the page about one photo."""
    first = f"the photo, its {len(levels[DEFAULT_DETAIL])} segments, and {learned} of the model photos"
    lines = [f"## {photo.title}", f"![{photo.title}: {first}](_static/gallery/{photo.name}.jpg)"]
    if photo in PHOTOS:
        counts = ", ".join(f"{len(levels[detail])} at {detail}" for detail in DETAILS)
        picture = f"_static/gallery/{photo.name}-details.jpg"
        lines.append(f"![{photo.title}: segments at three levels of detail, {counts}]({picture})")
    return "\n\n".join([*lines, f"Photo: {photo.source}.\n"])


if __name__ == "__main__":
    main()

"""What both checkouts are given: photos, odd images, and made-up data with ground truth, drawn once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

# sample images that come with scikit-image, and what of them is taken: left, top, right, bottom
PHOTOS: dict[str, tuple[int, int, int, int] | None] = {
    "astronaut.png": None,
    "camera.png": None,
    "chelsea.png": None,
    "coffee.png": None,
    "coins.png": None,
    "hubble_deep_field.jpg": (100, 100, 500, 450),
    "ihc.png": None,
    "moon.png": None,
    "motorcycle_left.png": None,
    "page.png": None,
    "retina.jpg": (400, 400, 800, 800),
    "rocket.jpg": None,
}
LONG_SIDE = 150
SCENES = 8
SCENE_SIZE = (96, 128)
CLASSES = (
    {"id": 1, "name": "disc", "isthing": 1},
    {"id": 2, "name": "box", "isthing": 1},
    {"id": 3, "name": "ground", "isthing": 0},
)
_COLOURS = np.array([(205, 205, 195), (200, 70, 40), (40, 70, 200), (90, 140, 60)], np.float64)


def ensure_inputs(folder: Path) -> str:
    """Draw the inputs unless they are there, and return a digest of them and of when they were drawn.

    Journals of upseg hold the time at which an image was last changed, so inputs are never drawn again.
    """
    done = folder.with_suffix(".json")
    if not done.exists():
        for draw in (_draw_photos, _draw_odd, _draw_scenes):
            draw(folder)
        done.write_text(json.dumps({"digest": _digest(folder)}), encoding="utf-8")
    digest = str(json.loads(done.read_text(encoding="utf-8"))["digest"])
    if digest != _digest(folder):
        raise SystemExit(f"{folder} was changed since it was drawn; remove it and {done}, and all runs beside them")
    return digest


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _sample_image(name: str) -> Image.Image:
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("scikit-image, whose sample images are the photos, is not installed")
    return Image.open(Path(package.origin).parent / "data" / name)


def _draw_photos(folder: Path) -> None:
    for directory in ("photos", "large"):
        (folder / directory).mkdir(parents=True)
    for name, box in PHOTOS.items():
        photo = _sample_image(name).crop(box)
        photo.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
        photo.save(folder / "photos" / name)
    _sample_image("coffee.png").save(folder / "large" / "coffee.png")
    _sample_image("ihc.png").crop((0, 0, 317, 317)).save(folder / "large" / "tenth.png")  # 0.1 megapixels


def _draw_odd(folder: Path) -> None:
    """Sizes that divide nothing, every depth and kind of channels, names that collide, and files that are broken."""
    odd = folder / "odd"
    (odd / "sub folder").mkdir(parents=True)
    photo = _sample_image("rocket.jpg").resize((61, 47), Image.Resampling.BOX)
    deep = np.asarray(photo, np.uint16).sum(2).astype(np.uint16) * 80
    saves: dict[str, Callable[[Path], object]] = {
        "one.png": photo.resize((1, 1)).save,
        "row.png": photo.resize((41, 1)).save,
        "column.png": photo.resize((2, 53)).save,
        "grey.bmp": photo.convert("L").save,
        "bits.png": photo.convert("1").save,
        "sixteen.png": Image.fromarray(deep).save,
        "alpha.png": _sample_image("logo.png").convert("RGBA").resize((50, 50), Image.Resampling.BOX).save,
        "palette.gif": photo.convert("P").save,
        "ink.jpg": photo.convert("CMYK").save,
        "same.jpg": photo.save,
        "same.png": photo.save,
        "sub folder/photo.webp": lambda path: photo.save(path, lossless=True),
        "flat.png": Image.new("RGB", (40, 30), (9, 80, 200)).save,
        "stack.tif": lambda path: tifffile.imwrite(path, np.stack([deep, deep[::-1]]), photometric="minisblack"),
        "float.tif": lambda path: tifffile.imwrite(path, deep.astype(np.float32) / 9e4),
    }
    for name, save in saves.items():
        save(odd / name)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    photo.save(odd / "turned.jpg", exif=turned)
    (odd / "broken.png").write_bytes((odd / "same.png").read_bytes()[:700])
    (odd / "empty.jpg").write_bytes(b"")
    tifffile.imwrite(folder / "channels.tif", np.stack([deep, deep[::-1], deep // 2, deep // 3], 2), planarconfig=1)


def _draw_scenes(folder: Path) -> None:
    """Discs and boxes on ground, some of them touching, in every layout that `upseg evaluate` and recipes read."""
    rng = np.random.default_rng(7)
    instances: dict[str, list[object]] = {"images": [], "annotations": [], "categories": _coco_classes()}
    panoptic: dict[str, list[object]] = {"images": [], "annotations": [], "categories": list(CLASSES)}
    for number in range(1, SCENES + 1):
        labels, classes, distance = _scene(rng)
        name = f"scene{number}"
        image = np.clip(_COLOURS[classes] + rng.normal(0, 12, (*SCENE_SIZE, 3)), 0, 255).astype(np.uint8)
        _save_scene(folder, name, image, labels, classes, distance)
        row = {"id": number, "file_name": f"{name}.png", "height": SCENE_SIZE[0], "width": SCENE_SIZE[1]}
        instances["images"].append(row)
        instances["annotations"] += _instances(number, labels, classes)
        panoptic["images"].append(row)
        panoptic["annotations"].append(
            {"image_id": number, "file_name": f"{name}.png", "segments_info": _segments(labels, classes)}
        )
    for layout in ("masks", "labels"):
        _write_json(folder / "scenes" / layout / "categories.json", list(CLASSES))
    _write_json(folder / "scenes/instances/instances.json", instances)
    _write_json(folder / "scenes/panoptic/annotations/panoptic_val2017.json", panoptic)
    (folder / "scenes/classes.txt").write_text("1 disc\n2 box\n3 ground\n", encoding="utf-8")
    (folder / "scenes/some.txt").write_text("scene1\nscene3\n", encoding="utf-8")


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of objects, their classes, and their distance in metres, of one scene; the first two discs touch."""
    rows, columns = np.mgrid[: SCENE_SIZE[0], : SCENE_SIZE[1]]
    labels, classes = np.zeros(SCENE_SIZE, np.int64), np.zeros(SCENE_SIZE, np.int64)
    distance = 6.0 - rows / 24
    places = [(30, 30), (30, 30 + int(rng.integers(28, 34))), (60, 100), (62, 40)]
    for number, (row, column) in enumerate(places, start=1):
        radius = int(rng.integers(13, 18))
        if number <= 2:
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        else:
            inside = (abs(rows - row) < radius) & (abs(columns - column) < radius - 4)
        free = inside & (labels == 0)
        labels[free], classes[free], distance[free] = number, 1 if number <= 2 else 2, 1 + number / 4
    ground = (rows > 82) & (labels == 0)
    labels[ground], classes[ground] = len(places) + 1, 3
    return labels, classes, distance


def _save_scene(
    folder: Path, name: str, image: np.ndarray, labels: np.ndarray, classes: np.ndarray, distance: np.ndarray
) -> None:
    colours = np.stack([labels % 256, labels // 256, 0 * labels], 2).astype(np.uint8)
    files = {
        "labels/images": image,
        "masks/images": image,
        "instances/images": image,
        "panoptic/val2017": image,
        "depth/rgb": image,
        "labels/labels": labels.astype(np.uint16),
        "masks/masks": classes.astype(np.uint8),
        "panoptic/annotations/panoptic_val2017": colours,
        "depth/depth": (distance * 1000).astype(np.uint16),
    }
    for layout, pixels in files.items():
        path = folder / "scenes" / layout / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _coco_classes() -> list[object]:
    return [{"id": row["id"], "name": row["name"]} for row in CLASSES if row["isthing"]]


def _segments(labels: np.ndarray, classes: np.ndarray) -> list[object]:
    """What COCO panoptic says of each segment."""
    found: list[object] = []
    for number in range(1, int(labels.max()) + 1):
        inside = labels == number
        category = int(classes[inside][0])
        found.append({"id": number, "category_id": category, "iscrowd": 0, "area": int(inside.sum())})
    return found


def _instances(image: int, labels: np.ndarray, classes: np.ndarray) -> list[object]:
    """The things of a scene as COCO instances, with run lengths down the columns."""
    found: list[object] = []
    for number in range(1, int(labels.max())):  # the last one is the ground
        inside = labels == number
        rows, columns = np.nonzero(inside)
        box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        changes = np.flatnonzero(np.diff(inside.T.ravel(), prepend=False)).tolist()
        counts = np.diff([0, *changes, inside.size]).tolist()
        found.append(
            {
                "id": image * 100 + number,
                "image_id": image,
                "category_id": int(classes[inside][0]),
                "iscrowd": 0,
                "area": int(inside.sum()),
                "bbox": box,
                "segmentation": {"size": list(SCENE_SIZE), "counts": counts},
            }
        )
    return found


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")

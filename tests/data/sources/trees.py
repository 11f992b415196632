"""Tiny data sets in the official layouts: two images of 6 x 8 pixels each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 6, 8
LEFT = np.zeros((HEIGHT, WIDTH), bool)
LEFT[:, :3] = True
RIGHT = np.zeros((HEIGHT, WIDTH), bool)
RIGHT[1:5, 5:] = True


def write_image(path: Path, shape: tuple[int, int] = (HEIGHT, WIDTH), value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*shape, 3), value, np.uint8)).save(path)


def write_cut_image(path: Path) -> None:
    """An image whose size can still be read, but not all of its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-40])


def write_map(path: Path, values: np.ndarray, palette: bool = False) -> None:
    """A grey PNG or TIFF of 8 or 16 bits, or a palette PNG; three channels are colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint16 if values.ndim == 2 and values.max() > 255 else np.uint8
    (_palette(values) if palette else Image.fromarray(values.astype(kind))).save(path)


def _palette(values: np.ndarray) -> Image.Image:
    image = Image.new("P", (values.shape[1], values.shape[0]))
    image.putpalette([channel for value in range(256) for channel in (value, 255 - value, value // 2)])
    image.putdata(values.astype(np.uint8).ravel().tolist())
    return image


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def numbers(left: int, right: int, elsewhere: int = 0) -> np.ndarray:
    """A map with the two regions that all these data sets have."""
    values = np.full((HEIGHT, WIDTH), elsewhere, np.int64)
    values[LEFT], values[RIGHT] = left, right
    return values


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's plain run lengths, by a loop over the pixels."""
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def coco_tables(names: list[str], **changes: Any) -> dict[str, Any]:
    """An instances file: in each image a polygon on the left, run lengths on the right."""
    images = [
        {"id": 10 * n, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1}
        for n, name in enumerate(names, start=1)
    ]
    annotations = []
    for image in images:
        polygon = [[0, 0, 3, 0, 3, HEIGHT, 0, HEIGHT]]
        for category, mask, crowd in ((17, polygon, 0), (3, run_lengths(RIGHT), 1)):
            number = len(annotations) + 1
            annotations.append(
                {"id": number, "image_id": image["id"], "category_id": category, "segmentation": mask, "iscrowd": crowd}
            )
    categories = [{"id": 3, "name": "car", "supercategory": "vehicle"}, {"id": 17, "name": "cat"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories, **changes}


def panoptic_tables(names: list[str], pngs: Path, **changes: Any) -> dict[str, Any]:
    """A panoptic file, and its PNGs, in which ids need all three colours."""
    left, right = 70_000, 513
    pngs.mkdir(parents=True, exist_ok=True)
    annotations = []
    for n, name in enumerate(names, start=1):
        ids = numbers(left, right)
        file = f"{Path(name).stem}.png"
        Image.fromarray(np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)).save(
            pngs / file
        )
        segments = [
            {"id": left, "category_id": 119, "area": int(LEFT.sum()), "iscrowd": 0},
            {"id": right, "category_id": 1, "area": int(RIGHT.sum()), "iscrowd": n - 1},
        ]
        annotations.append({"image_id": n, "file_name": file, "segments_info": segments})
    images = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(names, start=1)]
    categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 119, "name": "sky", "isthing": 0}]
    # the annotations are in another order than the images, as they are in COCO's files
    return {"images": images, "annotations": annotations[::-1], "categories": categories, **changes}


def draw_coco_instances(root: Path) -> None:
    names = ["000000000001.jpg", "000000000002.jpg"]
    for name in names:
        write_image(root / "val2017" / name)
    write_json(root / "annotations" / "instances_val2017.json", coco_tables(names))


def draw_coco_panoptic(root: Path) -> None:
    names = ["000000000001.jpg", "000000000002.jpg"]
    for name in names:
        write_image(root / "train2017" / name)
    tables = panoptic_tables(names, root / "annotations" / "panoptic_train2017")
    write_json(root / "annotations" / "panoptic_train2017.json", tables)


def draw_coco_stuff(root: Path) -> None:
    for name in ("000000000001", "000000000002"):
        write_image(root / "images" / "val2017" / f"{name}.jpg")
        write_map(root / "stuffthingmaps_trainval2017" / "val2017" / f"{name}.png", numbers(16, 156, elsewhere=255))


def draw_ade20k(root: Path) -> None:
    for name in ("ADE_val_00000001", "ADE_val_00000002"):
        write_image(root / "images" / "validation" / f"{name}.jpg")
        # wall on the left, people elsewhere, of whom the instance map knows one
        write_map(root / "annotations" / "validation" / f"{name}.png", numbers(1, 13))
        colours = np.stack((numbers(0, 4), numbers(0, 7), numbers(0, 0)), axis=-1)
        write_map(root / "annotations_instance" / "validation" / f"{name}.png", colours)


def draw_ade20k_full(root: Path) -> None:
    for name in ("street/ADE_val_00000001", "room/ADE_val_00000002"):
        base = root / "images" / "ADE" / "validation" / name
        write_image(base.parent / f"{base.name}.jpg")
        objects = [
            (LEFT, 1831, "person, individual", 1, 0),
            (np.ones_like(LEFT), 2420, "sky", 3, 0),
            (RIGHT, 401, "car, auto", 2, 0),
            (LEFT & (np.arange(HEIGHT) < 2)[:, None], 1177, "head", 4, 1),
        ]
        rows = []
        for number, (mask, index, title, rank, level) in enumerate(objects):
            file = f"instance_{number:03d}_{base.name}.png"
            write_map(base / file, mask.astype(np.uint8) * 255)
            rows.append(
                {
                    "id": number,
                    "name": title,
                    "name_ndx": index,
                    "depth_ordering_rank": rank,
                    "parts": {"part_level": level},
                    "instance_mask": f"{base.name}/{file}",
                }
            )
        write_json(base.parent / f"{base.name}.json", {"annotation": {"filename": f"{base.name}.jpg", "object": rows}})


def draw_cihp(root: Path) -> None:
    for name in ("0000006", "0000007"):
        folder = root / "Validation"
        write_image(folder / "Images" / f"{name}.jpg")
        write_map(folder / "Category_ids" / f"{name}.png", numbers(13, 13))
        write_map(folder / "Human_ids" / f"{name}.png", numbers(1, 2))


def draw_cityscapes(root: Path) -> None:
    for city, number in (("frankfurt", 294), ("munster", 3)):
        name = f"{city}/{city}_000000_{number:06d}"
        write_image(root / "leftImg8bit" / "val" / f"{name}_leftImg8bit.png")
        # a car, and a group of cars below an unlabelled sky
        values = numbers(26_001, 26)
        values[0, 3:] = 23
        values[5, 3:] = 4
        write_map(root / "gtFine" / "val" / f"{name}_gtFine_instanceIds.png", values)
        write_map(root / "gtFine" / "val" / f"{name}_gtFine_labelIds.png", numbers(26, 26))


def draw_voc2012(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2012"
    for name in ("2007_000001", "2007_000002", "2007_000003"):
        write_image(base / "JPEGImages" / f"{name}.jpg")
        classes, objects = numbers(15, 15), numbers(1, 2)
        classes[:, 3], objects[:, 3] = 255, 255
        write_map(base / "SegmentationClass" / f"{name}.png", classes, palette=True)
        write_map(base / "SegmentationObject" / f"{name}.png", objects, palette=True)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000001\n2007_000002\n")
    (lists / "train.txt").write_text("2007_000003\n")


def write_bsds_annotations(path: Path, maps: list[np.ndarray]) -> None:
    """A `.mat` file as BSDS500 has them: a cell array of structures."""
    cells = np.empty((1, len(maps)), object)
    for index, labels in enumerate(maps):
        cells[0, index] = {"Segmentation": labels, "Boundaries": np.zeros(labels.shape, np.uint8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells})


def draw_bsds500(root: Path) -> None:
    for name in ("101085", "3096"):
        write_image(root / "images" / "val" / f"{name}.jpg")
        maps = [numbers(2, 3, elsewhere=1).astype(np.uint16), numbers(1, 1, elsewhere=2).astype(np.uint16)]
        write_bsds_annotations(root / "groundTruth" / "val" / f"{name}.mat", maps)


def draw_dsb2018(root: Path) -> None:
    for name in ("00ae65", "0c2550"):
        folder = root / "stage1_train" / name
        write_image(folder / "images" / f"{name}.png")
        write_map(folder / "masks" / "a1.png", LEFT * 255)
        write_map(folder / "masks" / "b2.png", RIGHT * 255)


def draw_evican(root: Path) -> None:
    names = ["6_A431.jpg", "7_A431.jpg"]
    for name in names:
        write_image(root / "Images" / "EVICAN_val2019" / name)
    write_json(root / "instances_val2019_EVICAN2.json", coco_tables(names))


def draw_sa1b(root: Path) -> None:
    for number in (2, 10):
        write_image(root / "sa_000000" / f"sa_{number}.jpg")
        rows = [{"id": n, "segmentation": run_lengths(mask)} for n, mask in ((5, LEFT | RIGHT), (6, RIGHT))]
        image = {"image_id": number, "width": WIDTH, "height": HEIGHT, "file_name": f"sa_{number}.jpg"}
        write_json(root / "sa_000000" / f"sa_{number}.json", {"image": image, "annotations": rows})


def draw_entityseg(root: Path) -> None:
    names = ["entity_01_11580/coco_0001.jpg", "entity_02_11598/ade_0002.jpg"]
    for name in names:
        write_image(root / "images" / name)
    tables = coco_tables(names)
    del tables["categories"]
    write_json(root / "entityseg_insseg_val.json", tables)


def draw_nyuv2(root: Path) -> None:
    import h5py

    root.mkdir(parents=True, exist_ok=True)

    def reverse(values: np.ndarray) -> np.ndarray:
        """Two scenes, with the axes in MATLAB's order."""
        return np.stack([values.T, values.T])

    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = reverse(np.full((HEIGHT, WIDTH, 3), (255, 0, 51), np.uint8))
        file["depths"] = reverse(np.where(LEFT, 2.5, 4.0).astype(np.float32))
        file["rawDepths"] = reverse(np.where(LEFT, 2.5, 0.0).astype(np.float32))
        file["labels"] = reverse(numbers(1, 2).astype(np.uint16))
        file["instances"] = reverse(numbers(1, 3).astype(np.uint8))
        cells = []
        for name in ("wall", "chair"):
            file[f"#refs#/{name}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            cells.append(file[f"#refs#/{name}"].ref)
        file["names"] = np.array([cells], h5py.ref_dtype)


def draw_depth_folders(root: Path) -> None:
    for number in (0, 50):
        write_image(root / "rgb" / f"rgb_{number:05d}.jpg")
        write_map(root / "depth" / f"sync_depth_{number:05d}.png", numbers(2500, 4000))


def draw_labels(root: Path) -> None:
    for name in ("a", "deep/b"):
        write_image(root / "images" / f"{name}.jpg")
    write_map(root / "labels" / "a.png", numbers(300, 9))
    write_map(root / "labels" / "deep" / "b.tif", numbers(300, 9))


def draw_masks(root: Path) -> None:
    for name in ("a", "b"):
        write_image(root / "images" / f"{name}.png")
        write_map(root / "masks" / f"{name}.png", numbers(1, 4))


def draw_plain_json(root: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(root / "images" / name)
    write_json(root / "annotations.json", coco_tables(["a.png", "b.png"]))


def draw_yolo(root: Path) -> None:
    lines = "1 0 0 0.375 0 0.375 1 0 1\n0 0.625 0.166666667 1 0.166666667 1 0.833333333 0.625 0.833333333\n"
    for name in ("a", "deep/b"):
        write_image(root / "images" / "val" / f"{name}.png")
        path = root / "labels" / "val" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    (root / "data.yaml").write_text("path: ../datasets/mine\ntrain: images/train\nval: images/val\nnames: [car, cat]\n")


def draw_cvat(root: Path) -> None:
    red, blue = (128, 0, 0), (0, 0, 128)
    for name in ("a", "b"):
        write_image(root / "JPEGImages" / f"{name}.png")
        for folder, left, right in (("SegmentationClass", red, red), ("SegmentationObject", red, blue)):
            colours = np.zeros((HEIGHT, WIDTH, 3), np.int64)
            colours[LEFT], colours[RIGHT] = left, right
            write_map(root / folder / f"{name}.png", colours)
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ncar:0,9,0::\n"
    )
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("a\nb\n")


def draw_labelme(root: Path) -> None:
    for name in ("a", "b"):
        write_image(root / f"{name}.png")
        shapes = [
            {"label": "cat", "shape_type": "polygon", "points": [[0, 0], [3, 0], [3, 6], [0, 6]]},
            {"label": "car", "shape_type": "rectangle", "points": [[5, 1], [8, 5]], "group_id": None},
        ]
        facts = {"imagePath": f"{name}.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        write_json(root / f"{name}.json", {"version": "5.5.0", "flags": {}, "shapes": shapes, **facts})


def draw_label_studio(root: Path) -> None:
    tasks = []
    for number, name in enumerate(("a", "b"), start=1):
        write_image(root / "images" / f"{name}.png")
        size = {"original_width": WIDTH, "original_height": HEIGHT}
        polygon = {"points": [[0, 0], [37.5, 0], [37.5, 100], [0, 100]], "polygonlabels": ["cat"]}
        brush = {"format": "rle", "rle": studio_run_lengths(RIGHT), "brushlabels": ["car"]}
        result = [
            {"id": "p", "type": "polygonlabels", "value": polygon, **size},
            {"id": "b", "type": "brushlabels", "value": brush, **size},
        ]
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.png"},
                "annotations": [{"result": result}],
            }
        )
    write_json(root / "tasks.json", tasks)


def studio_run_lengths(mask: np.ndarray) -> list[int]:
    """Label Studio's packed runs, by a loop over the bytes: short runs with 3 bits, single bytes unpacked."""
    bits = f"{4 * mask.size:032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    values = np.repeat(mask.ravel().astype(int) * 255, 4).tolist()
    while values:
        length = next((n for n, value in enumerate(values) if value != values[0]), len(values))
        length = min(length, 8)
        if length > 4:
            bits += f"100{length - 1:03b}{values[0]:08b}"
        else:
            bits += f"000{length - 1:03b}" + "".join(f"{value:08b}" for value in values[:length])
        values = values[length:]
    bits += "0" * (-len(bits) % 8)
    return [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]

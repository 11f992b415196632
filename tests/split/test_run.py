"""What becomes of a folder of class masks, with and without photos, and of what is wrong in it."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from tests.split.splitting_folder import SHAPE, classes_of, contents, draw, error_of, instances, run, statuses
from upseg.batch.jobs import ImageResult
from upseg.batch.run import BatchObserver
from upseg.data.sources.coco_json import CocoJson
from upseg.errors import FormatError, ImageError, ModelError, UpsegError
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.segmentation import Category, Segmentation
from upseg.split.run import DEFAULT_FORMATS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_a_folder_of_masks_becomes_label_maps_and_one_coco_file(root) -> None:
    summary = run(root)
    assert statuses(summary) == {"a": "done", "b": "done", "c": "done"}
    assert set(contents(root / "out")) == {"a.png", "b.png", "sub/c.png", "instances.json"}
    assert summary.instances == root / "out" / "instances.json"
    assert summary.problem is None
    found = Segmentation.load(root / "out" / "sub" / "c.png")
    assert [s.category for s in found] == [
        Category(1, "cell"),
        Category(2, "blob"),
        Category(2, "blob"),
        Category(3, "ground", is_thing=False),
    ]
    assert {"method": "components", "image": "sub/c.jpg", "mask": "sub/c.png"}.items() <= found.provenance.items()


def test_the_coco_file_has_the_photos_the_classes_of_things_and_every_instance(root) -> None:
    run(root)
    data = instances(root)
    assert [row["file_name"] for row in data["images"]] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert [(row["id"], row["name"]) for row in data["categories"]] == [(1, "cell"), (2, "blob")]
    coco = COCO(str(root / "out" / "instances.json"))
    for image, name in ((1, "a"), (3, "sub/c")):
        found = Segmentation.load(root / "out" / f"{name}.png")
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[image]))
        things = [segment for segment in found if segment.category.is_thing]
        assert [row["category_id"] for row in rows] == [segment.category.id for segment in things]
        for row, segment in zip(rows, things, strict=True):
            assert isinstance(row["segmentation"]["counts"], str)
            assert (coco.annToMask(row) == found.mask(segment.id)).all()
            assert (row["area"], row["iscrowd"], row["score"]) == (segment.area, 0, 1.0)


def test_our_reader_finds_photos_and_instances(root) -> None:
    run(root)
    dataset = CocoJson(root / "out" / "instances.json", [root / "photos"])
    assert [sample.name for sample in dataset] == ["a", "b", "sub/c"]
    assert [len(sample.segments) for sample in dataset] == [3, 3, 3]
    assert dataset[0].image.shape == (*SHAPE, 3)


def test_a_model_gets_the_photo_and_the_classes(root) -> None:
    summary = run(root, model="halves", formats=("overlay", "coco"))
    assert set(statuses(summary).values()) == {"done"}
    found = Segmentation.load(root / "out" / "a.json")
    cells = [segment for segment in found if segment.category == Category(1, "cell")]
    assert [segment.bbox[1] < SHAPE[1] // 2 for segment in cells] == [True, False]
    assert found.provenance["seen"] == [*SHAPE, 3]
    data = instances(root)
    assert {row["score"] for row in data["annotations"]} == {0.5}
    assert {name for name in contents(root / "out") if name.startswith("a.")} == {"a.overlay.png", "a.json"}
    assert json.loads((root / "out" / "a.json").read_text())["images"][0]["file_name"] == "a.jpg"


def test_the_baselines_need_no_photos_and_name_the_mask_then(root) -> None:
    summary = run(root, images=None)
    assert set(statuses(summary).values()) == {"done"}
    assert [row["file_name"] for row in instances(root)["images"]] == ["a.png", "b.png", "sub/c.png"]


def test_a_mask_without_objects_is_an_image_without_instances(root) -> None:
    Image.new("L", SHAPE[::-1]).save(root / "masks" / "a.png")
    assert run(root, "masks/a.png").results[0].segments == 0
    assert len(instances(root)["images"]) == 1
    assert instances(root)["annotations"] == []


def test_broken_masks_and_photos_are_named_and_the_others_finish(root) -> None:
    draw(root, *"defgh")
    masks, photos = root / "masks", root / "photos"
    (masks / "a.png").write_bytes((masks / "a.png").read_bytes()[:60])
    Image.new("RGB", SHAPE[::-1], "red").save(masks / "b.png")
    (photos / "d.jpg").unlink()
    Image.new("RGB", (3, 3)).save(photos / "e.jpg")
    (photos / "f.jpg").write_bytes(b"\xff\xd8\xff no photo")
    Image.new("RGB", SHAPE[::-1]).save(photos / "g.png")
    Image.fromarray(np.full(SHAPE, 9, np.uint8)).save(masks / "h.png")
    (masks / "notes.txt").write_text("no mask")
    summary = run(root, [masks, masks / "gone.png", masks / "notes.txt"])
    done = {stem for stem, status in statuses(summary).items() if status == "done"}
    assert done == {"c"}
    assert all(str(result.error).startswith(str(result.input)) for result in summary.failures)
    assert "cannot be read as a label map" in error_of(summary, "a")
    assert "a label map has one number for each pixel" in error_of(summary, "b")
    assert f"it has no photo: there is no {photos}/d.* with the suffix of an image" in error_of(summary, "d")
    assert f"{photos / 'e.jpg'} is 3 x 3" in error_of(summary, "e")
    assert f"{photos / 'f.jpg'}: " in error_of(summary, "f")
    assert "several photos" in error_of(summary, "g")
    assert "g.jpg and g.png" in error_of(summary, "g")
    assert "not in the list of classes: 9" in error_of(summary, "h")
    assert "no such file" in error_of(summary, "gone")
    assert "it has no photo" in error_of(summary, "notes")
    assert "cannot be read as a label map" in error_of(run(root, [masks / "notes.txt"], images=None), "notes")
    run(root)
    assert [row["file_name"] for row in instances(root)["images"]] == ["sub/c.jpg"]
    (photos / "g.png").unlink()
    draw(root, *"defh")
    assert {"c": "skipped", "d": "done", "g": "done"}.items() <= statuses(run(root)).items()
    assert len(instances(root)["images"]) == 6


def test_a_photo_in_another_folder_is_hinted_at(root) -> None:
    summary = run(root, "masks/sub")
    assert f"is it {root / 'photos' / 'sub' / 'c.jpg'}? The folders have to fit" in error_of(summary, "c")
    assert summary.instances is None
    assert run(root, "masks/sub", images=root / "photos" / "sub").counts()["done"] == 1


def test_masks_and_photos_may_lie_in_one_folder(root) -> None:
    for path in (root / "masks").glob("*.png"):
        path.rename(root / "photos" / path.name)
    summary = run(root, [str(root / "photos" / "*.png")])
    assert statuses(summary) == {"a": "done", "b": "done"}
    assert [row["file_name"] for row in instances(root)["images"]] == ["a.jpg", "b.jpg"]


def test_a_mask_may_be_called_like_the_coco_file(root) -> None:
    draw(root, "instances")
    summary = run(root, formats=("coco",))
    assert set(statuses(summary).values()) == {"done"}
    assert {"instances.png.json", "instances.json"} <= set(contents(root / "out"))
    assert len(instances(root)["images"]) == 4
    assert set(statuses(run(root, formats=("coco",))).values()) == {"skipped"}


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ((), {"a.png"}),
        (("tif",), {"a.tif"}),
        (("overlay",), {"a.png", "a.overlay.png"}),
        (("panoptic", "overlay"), {"a.panoptic.json", "a.panoptic.png", "a.overlay.png"}),
        (("overlay", "geojson", "tif"), {"a.overlay.png", "a.geojson", "a.tif"}),
    ],
)
def test_what_is_asked_for_is_written_and_the_coco_file_is_made_of_it(root, formats, expected) -> None:
    summary = run(root, formats=formats or DEFAULT_FORMATS)
    assert summary.problem is None
    assert {name for name in contents(root / "out") if name.startswith("a.")} == expected
    assert len(instances(root)["annotations"]) == 9


def test_workers_give_the_same_bytes(root) -> None:
    run(root)
    summary = run(root, output=root / "two", workers=2)
    assert set(statuses(summary).values()) == {"done"}
    assert contents(root / "two") == contents(root / "out")


class Recorder(BatchObserver):
    def __init__(self) -> None:
        self.start: tuple[int, int] | None = None
        self.steps: list[tuple[int, int]] = []
        self.inputs: list[str] = []
        self.gathered: list[tuple[int, int]] = []

    def on_start(self, results: Sequence[ImageResult], remaining: int) -> None:
        self.start = len(results), remaining

    def on_step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def on_result(self, result: ImageResult) -> None:
        self.inputs.append(result.input.stem)

    def on_gather(self, done: int, total: int) -> None:
        self.gathered.append((done, total))


def test_an_observer_hears_of_masks_steps_and_gathering(root) -> None:
    run(root, "masks/a.png", model="halves")
    recorder = Recorder()
    run(root, [root / "masks" / "a.png", root / "masks" / "b.png"], model="halves", observer=recorder)
    assert recorder.start == (1, 1)
    assert recorder.steps == [(1, 1)]
    assert recorder.inputs == ["b"]
    assert recorder.gathered == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"paths": "empty"}, ImageError, r"no mask in this folder \(looked for .png, .tif, .tiff\)"),
        ({"paths": "*.png"}, ImageError, "no mask matches this pattern"),
        ({"paths": []}, ImageError, "no mask to split was named"),
        ({"images": "nowhere"}, UpsegError, "nowhere should be the folder with the photos of the masks, but is none"),
        ({"images": "empty"}, ImageError, "no photo in this folder"),
        ({"images": None, "model": "halves"}, UpsegError, r"the model halves looks at the photos.*\(--images\)"),
        ({"images": None, "formats": ("overlay",)}, UpsegError, r"overlay is made with the photo.*\(--images\)"),
        ({"formats": ("depth",)}, UpsegError, "class masks have no depth"),
        ({"formats": ("gif",)}, FormatError, "no format 'gif'"),
        ({"model": "threshold"}, ModelError, "cannot split class masks"),
        ({"workers": 0}, UpsegError, "at least 1 worker"),
    ],
)
def test_what_cannot_work_at_all_is_refused_at_once(root, options, error, message) -> None:
    (root / "empty").mkdir()
    if isinstance(options.get("images"), str):
        options = {**options, "images": root / options["images"]}
    with pytest.raises(error, match=message):
        run(root, **options)
    assert not (root / "out").exists()


def test_a_real_model_splits_masks_of_classes_that_it_does_not_know(root, tmp_path) -> None:
    settings = BaisegSettings(backbone="resnet18", width=4, hidden=4, cascade=2, semantic_width=None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BaisegNetwork(settings, 1).eval()
    BaisegSegmenter(settings, "cpu", network=network).save_pretrained(tmp_path / "model")
    summary = run(root, "masks/a.png", model=tmp_path / "model", settings={"minimum_area": 0})
    assert summary.failures == ()
    found = Segmentation.load(root / "out" / "a.png")
    classes = classes_of(0)
    for segment in found:
        assert set(classes[found.mask(segment.id)].tolist()) == {segment.category.id}
    assert {segment.category.name for segment in found} == {"cell", "blob", "ground"}
    assert sum(segment.category.name == "ground" for segment in found) == 1
    assert {row["file_name"] for row in instances(root)["images"]} == {"a.jpg"}

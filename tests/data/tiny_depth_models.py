"""Depth models of transformers with random weights that are done in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_depth_anything(folder: Path, kind: str = "relative", seed: int = 0) -> Path:
    """Write a Depth Anything model, `relative` or `metric`, as its authors publish theirs."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(seed)
    layers = [f"stage{number}" for number in range(1, 5)]
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=28,
        patch_size=14,
        out_features=layers,
        reshape_hidden_states=False,
    )
    configuration = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=kind,
        max_depth=10 if kind == "metric" else 1,
    )
    return _saved(_lively(DepthAnythingForDepthEstimation(configuration)), folder, keep_aspect_ratio=True)


def save_dpt(folder: Path) -> Path:
    """Write a DPT model, whose configuration does not say what it predicts."""
    import torch
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(0)
    configuration = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=28,
        patch_size=14,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        reassemble_factors=[4, 2, 1, 0.5],
        fusion_hidden_size=8,
    )
    return _saved(_lively(DPTForDepthEstimation(configuration)), folder, keep_aspect_ratio=False)


def _lively(model: Any) -> Any:
    """With larger weights than a new model has: its answer would hardly depend on the image, and be cut off at 0."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
        model.head.conv3.bias.fill_(5) if hasattr(model.head, "conv3") else model.head.head[4].bias.fill_(5)
    return model


def _saved(model: Any, folder: Path, *, keep_aspect_ratio: bool) -> Path:
    from transformers import DPTImageProcessor

    model.save_pretrained(folder)
    processor = DPTImageProcessor(
        size={"height": 28, "width": 28}, keep_aspect_ratio=keep_aspect_ratio, ensure_multiple_of=14, resample=3
    )
    processor.save_pretrained(folder)
    return folder

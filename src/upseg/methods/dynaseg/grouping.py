"""From the fitted network's response to segments, as the paper does."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int32, Integer
from torch import Tensor

from upseg.functional.label_maps import canonical_order, connected_components
from upseg.methods.dynaseg.equations import cluster_labels


def group_labels(response: Float[Tensor, "1 q h w"], *, connected: bool) -> Int32[np.ndarray, "h w"]:
    """The label of each pixel as the paper takes it (Sec. 3.4), or its 4-connected parts.

    Args:
        response: (1, q, H, W) r'.
        connected: Whether parts of a label that do not touch are different segments.

    Returns:
        (H, W) canonical ids from 1.
    """
    labels: Integer[np.ndarray, "h w"] = cluster_labels(response)[0].cpu().numpy().astype(np.int32) + 1
    return connected_components(labels) if connected else canonical_order(labels)[0]

"""Which of several processes that train together this one is, where there is no trainer to ask."""

from __future__ import annotations

import lightning.pytorch.utilities.rank_zero  # noqa: F401 - importing it finds out the rank
from lightning_utilities.core.rank_zero import rank_zero_only


def is_first_process() -> bool:
    """Whether this process writes the files of the training."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0

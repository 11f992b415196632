"""A trainer and a module that say what a test wants, of the types that callbacks demand."""

from __future__ import annotations

from typing import Any

import lightning


def stand_in_trainer(**state: Any) -> lightning.Trainer:
    """A trainer with these attributes, and none of the others set up."""
    usual = {
        "sanity_checking": False,
        "fast_dev_run": False,
        "is_global_zero": True,
        "global_rank": 0,
        "current_epoch": 2,
        "global_step": 30,
        "loggers": [],
    }
    # on a class of its own, where they take the place of properties
    return type("StandIn", (lightning.Trainer,), {**usual, **state, "__init__": lambda self: None})()


def stand_in_module(**attributes: Any) -> lightning.LightningModule:
    """A module with these attributes."""
    module = lightning.LightningModule()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module

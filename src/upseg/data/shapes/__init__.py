"""Made-up scenes: procedurally drawn shapes with exact ground truth, for training and tests."""

from upseg.data.shapes.scene import ShapeScenes, draw_scene
from upseg.data.shapes.settings import CATEGORIES, STUFF, THINGS, Difficulty

__all__ = ["CATEGORIES", "STUFF", "THINGS", "Difficulty", "ShapeScenes", "draw_scene"]

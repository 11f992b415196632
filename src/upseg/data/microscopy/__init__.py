"""What microscopes, stains and cameras do to images of cells, as transforms of samples for training."""

from upseg.data.microscopy.transform import MicroscopyAugmentation

__all__ = ["MicroscopyAugmentation"]

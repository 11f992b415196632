"""Errors that say what was expected, what came, and what to do."""

from __future__ import annotations


class UpsegError(Exception):
    """Anything a user can put right; the command line prints its message without a traceback."""


class ImageError(UpsegError):
    """A file or array that cannot be used as an image."""


class FormatError(UpsegError):
    """A result file that cannot be read, or a result that a format cannot hold."""


class ModelError(UpsegError):
    """A model that cannot be found or loaded."""


class DataError(UpsegError):
    """A data set or ground-truth file that is not as it should be."""

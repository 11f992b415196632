"""Progress on the terminal: images per second and time left, and the steps of an image that takes long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from upseg.batch.jobs import ImageResult
from upseg.batch.run import BatchObserver

if TYPE_CHECKING:
    from upseg.commands.bars import Bars


class ProgressDisplay(BatchObserver):
    """Counts results, and draws bars on standard error if that is a terminal.

    Attributes:
        counts: How many images have which status so far.
        total: How many images there are in all.
    """

    def __init__(self, *, visible: bool, noun: str = "image") -> None:
        self.counts: Counter[str] = Counter()
        self.total = 0
        self._noun, self._visible = noun, visible

    @cached_property
    def _bars(self) -> Bars:
        from upseg.commands.bars import Bars  # needs rich, and where nothing is to be done nothing is drawn

        return Bars(self._noun, visible=self._visible)

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "_bars" in vars(self):
            self._bars.stop()

    @property
    def complete(self) -> int:
        """How many images have complete results."""
        return self.counts.total() - self.counts["failed"]

    def on_start(self, results: Sequence[ImageResult], remaining: int) -> None:
        """Count what is known, and start to draw."""
        self.counts.update(result.status for result in results)
        self.total = len(results) + remaining
        if remaining:
            self._bars.begin(remaining)

    def on_step(self, done: int, total: int) -> None:
        """Move the bar of the image in hand."""
        self._bars.show_step(done, total)

    def on_result(self, result: ImageResult) -> None:
        """Count one image."""
        self.counts[result.status] += 1
        self._bars.count_image()

    def on_gather(self, done: int, total: int) -> None:
        """Move the bar of what is done with all results."""
        self._bars.show_gathering(done, total)

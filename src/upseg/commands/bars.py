"""Bars on the terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from upseg.batch.jobs import StepCallback

_PATIENCE = 2.0  # seconds that one image may take before its steps are shown


@contextmanager
def progress_bar(noun: str, *, visible: bool = True, total: int | None = None) -> Iterator[StepCallback]:
    """Show a bar on standard error, if that is a terminal; gives a function that is told what of how many is done.

    Args:
        noun: What is counted.
        visible: Whether to show it at all.
        total: How many there are, where that is known before.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (visible and console.is_terminal)) as bar:
        row = bar.add_task(noun, total=total)
        yield lambda done, total: bar.update(row, completed=done, total=total)


class _RateColumn(TextColumn):
    """Images per second, or seconds per image where that is more than one."""

    def __init__(self, noun: str) -> None:
        super().__init__("")
        self._noun = noun

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} {self._noun}s/s" if speed >= 1 else f"{1 / speed:.1f} s/{self._noun}")


class Bars(Progress):
    """One bar for the images, where there are several, and below it one for the steps of an image that takes long."""

    def __init__(self, noun: str, *, visible: bool) -> None:
        left = TimeRemainingColumn(elapsed_when_finished=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(noun), left)
        console = Console(stderr=True)
        self._image_since = math.inf  # before `Progress` asks for the first time what to draw
        super().__init__(*columns, console=console, transient=True, disable=not (visible and console.is_terminal))
        self._images = self.add_task(f"{noun}s", total=None, visible=False)
        self._steps = self.add_task(f"this {noun}", total=None, visible=False)
        self._gathering = self.add_task("one file of all", total=None, visible=False)

    def begin(self, images: int) -> None:
        """Start to draw."""
        self.update(self._images, total=images, visible=images > 1)
        self._image_since = time.monotonic()
        self.start()

    def show_step(self, done: int, total: int) -> None:
        """Set the lower bar."""
        self.update(self._steps, completed=done, total=total)

    def count_image(self) -> None:
        """Advance the upper bar and clear the lower one."""
        self._image_since = time.monotonic()
        self.advance(self._images)
        self.reset(self._steps, total=None, visible=False)

    def show_gathering(self, done: int, total: int) -> None:
        """Set the bar of what is done with all results, in place of the others."""
        if done == 1:
            for task in (self._images, self._steps):
                self.update(task, visible=False)
            self._image_since = math.inf
            self.start()
        self.update(self._gathering, completed=done, total=total, visible=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Called a few times a second: the lower bar appears when its image has taken long."""
        late = time.monotonic() - self._image_since > _PATIENCE
        shown = [task for task in self.tasks if task.visible or (late and task.id == self._steps)]
        for task in shown:
            task.visible = True
        yield self.make_tasks_table(shown)

"""One progress bar for everything long; silent where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Tell what the user should know in one line, however long; nothing if there is nothing."""
    if text:
        console.print(f'note: {text}', markup=False, soft_wrap=True)


class ProgressBar:
    """A bar that is moved by (done, total, text), as the long functions call it."""

    def __init__(self, bar: Progress, text: str, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(text, total=total)

    def __call__(self, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` are done."""
        self._bar.update(self._task, completed=done, total=total, description=text)

    def advance(self, text: str | None = None) -> None:
        """Show one more done."""
        self._bar.update(self._task, advance=1, description=text)


@contextmanager
def progress_bar(text: str, total: int | None = None) -> Iterator[ProgressBar]:
    """Show a progress bar on standard error while the block runs."""
    with Progress(SpinnerColumn(), TextColumn('{task.description}'), BarColumn(),
                  MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                  transient=True) as bar:
        yield ProgressBar(bar, text, total)

"""Images of a recording that nobody can decode: left out and counted, as a node does."""

from __future__ import annotations

from dataclasses import dataclass

from vseg_ros.errors import UserError


@dataclass
class SkippedImages:
    """
    The images that were left out because they cannot be decoded.

    Attributes:
        count: how many.
        first: why the first one was; empty if none was.

    """

    count: int = 0
    first: str = ''

    def add(self, error: UserError) -> None:
        """Count one more."""
        self.first = self.first or str(error)
        self.count += 1

    def clear(self) -> None:
        """Begin anew."""
        self.count, self.first = 0, ''

    @property
    def note(self) -> str:
        """One line on what was left out; empty if nothing was."""
        if not self.count:
            return ''
        if self.count == 1:
            return f'one image was skipped, since it cannot be decoded: {self.first}'
        return (f'{self.count} images were skipped, since they cannot be decoded; the first: '
                f'{self.first}')

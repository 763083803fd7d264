"""
What SAM 2 remembers of one object, and what of it a frame asks for.

A frame attends to the spatial memory of the prompted frame and of the `spatial - 1` frames before
it, and to the pointers of the prompted frame and of the `pointers - 1` frames before it (7 and 16
in the published models). Nothing else is kept, so memory does not grow with the video: about
7 x 0.5 MB an object for SAM 2 at 1024 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Memory:
    """
    What is remembered of an object on one frame.

    Attributes:
        spatial: [M, D], a token a place, or None once it is too old to be asked for.
        pointer: [C], the object itself.

    """

    spatial: Tensor | None
    pointer: Tensor


@dataclass(frozen=True, eq=False)
class Recollection:
    """
    What a frame asks of an object's memory.

    Attributes:
        offsets: how many frames away each spatial memory is; 0 for the prompted frame.
        spatial: [M, D] each.
        pointer_offsets: how many frames away each pointer is.
        pointers: [C] each.

    """

    offsets: tuple[int, ...]
    spatial: tuple[Tensor, ...]
    pointer_offsets: tuple[int, ...]
    pointers: tuple[Tensor, ...]

    @property
    def layout(self) -> tuple[tuple[int, ...], int]:
        """Objects of the same layout can be attended to in one batch."""
        return self.offsets, len(self.pointers)


@dataclass(eq=False)
class ObjectMemory:
    """
    The memory of one object.

    Attributes:
        prompted_at: index of the frame it was prompted on.
        prompted: what is remembered of that frame.
        recent: frame index -> what is remembered of it.

    """

    prompted_at: int
    prompted: Memory
    recent: dict[int, Memory] = field(default_factory=dict)

    def remember(self, index: int, memory: Memory, spatial: int, pointers: int) -> None:
        """
        Keep a tracked frame and forget what no later frame will ask for.

        Args:
            index: the tracked frame.
            memory: what to remember of it.
            spatial: spatial memories a frame attends to.
            pointers: pointers a frame attends to.

        """
        self.recent[index] = memory
        for other in list(self.recent):
            distance = abs(index - other)
            if distance >= pointers - 1 and distance >= spatial - 1:
                del self.recent[other]
            elif distance >= spatial - 1:
                self.recent[other] = replace(self.recent[other], spatial=None)

    def recall(self, index: int, direction: int, spatial: int, pointers: int) -> Recollection:
        """
        Collect what a frame attends to.

        Args:
            index: the frame to track to.
            direction: 1 if time runs forward, -1 if backward.
            spatial: spatial memories a frame attends to.
            pointers: pointers a frame attends to.

        """
        offsets, maps = [0], [self.prompted.spatial]
        for offset in range(spatial - 1, 0, -1):
            memory = self.recent.get(index - direction * offset)
            if memory is not None and memory.spatial is not None:
                offsets.append(offset)
                maps.append(memory.spatial)
        # After a turn the prompted frame may lie ahead, and a pointer from ahead is not used.
        since = direction * (index - self.prompted_at)
        pointed = [(since, self.prompted.pointer)] if since >= 0 else []
        for offset in range(1, pointers):
            memory = self.recent.get(index - direction * offset)
            if memory is not None:
                pointed.append((offset, memory.pointer))
        return Recollection(tuple(offsets), tuple(m for m in maps if m is not None),
                            tuple(offset for offset, _ in pointed),
                            tuple(pointer for _, pointer in pointed))

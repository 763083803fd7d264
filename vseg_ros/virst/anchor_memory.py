"""
The two memories of the Temporal Dynamic Anchor Updater (TDAU).

Anchor memory holds the anchors: frames whose mask was predicted from the sentence. FIFO memory
holds the P frames just before, whose masks were propagated. A frame attends to the spatial memory
of at most alpha anchors, chosen as SAM 2 chooses among prompted frames (the nearest before it, the
nearest after it, then the next nearest; in a live stream these are the alpha most recent), to that
of the FIFO, and to the pointers of both, as far as they lie in the past.
"""

from __future__ import annotations

from dataclasses import replace

from vseg_ros.models.sam2_memory import Memory, Recollection


class AnchorMemory:
    """
    What is remembered of one object.

    Args:
        attended: alpha, most anchors that a frame attends to.
        slots: P + 1, slots of spatial memory as SAM 2 counts them.
        pointers: most pointers that a frame attends to.

    """

    def __init__(self, attended: int, slots: int, pointers: int) -> None:
        self._attended, self._slots, self._pointers = attended, slots, pointers
        self._anchors: dict[int, Memory] = {}
        self._recent: dict[int, Memory] = {}

    def __contains__(self, index: int) -> bool:
        """Tell whether a frame is an anchor."""
        return index in self._anchors

    def add_anchor(self, index: int, memory: Memory) -> None:
        """Keep an anchor; a propagated memory of the same frame gives way to it."""
        self._anchors[index] = memory
        self._recent.pop(index, None)

    def add_recent(self, index: int, memory: Memory) -> None:
        """Keep a propagated frame, and forget those that no later frame will ask for."""
        self._recent[index] = memory
        for other in list(self._recent):
            if index - other >= self._pointers - 1 and index - other >= self._slots - 1:
                del self._recent[other]
            elif index - other >= self._slots - 1:
                self._recent[other] = replace(self._recent[other], spatial=None)

    def copy(self) -> AnchorMemory:
        """Return one that remembers the same and then goes its own way."""
        twin = AnchorMemory(self._attended, self._slots, self._pointers)
        twin._anchors, twin._recent = dict(self._anchors), dict(self._recent)
        return twin

    def forget_anchors(self, newest: int) -> None:
        """Keep the `attended` most recent anchors up to a frame: what a live stream asks for."""
        past = sorted(index for index in self._anchors if index <= newest)
        for index in past[:-self._attended]:
            del self._anchors[index]

    def recall(self, index: int) -> Recollection:
        """
        Collect what a frame attends to.

        Raises:
            ValueError: there is no anchor yet.

        """
        if not self._anchors:
            raise ValueError('nothing to propagate: predict an anchor first')
        chosen = self._chosen(index)
        unchosen = {key: memory for key, memory in self._anchors.items() if key not in chosen}
        offsets = [0] * len(chosen)
        spatial = [self._anchors[key].spatial for key in chosen]
        for offset in range(self._slots - 1, 0, -1):
            memory = self._recent.get(index - offset, unchosen.get(index - offset))
            if memory is not None and memory.spatial is not None:
                offsets.append(offset)
                spatial.append(memory.spatial)
        pointed = [(index - key, self._anchors[key].pointer) for key in chosen if key <= index]
        for offset in range(1, self._pointers):
            memory = self._recent.get(index - offset, unchosen.get(index - offset))
            if memory is not None:
                pointed.append((offset, memory.pointer))
        return Recollection(tuple(offsets), tuple(each for each in spatial if each is not None),
                            tuple(offset for offset, _ in pointed),
                            tuple(pointer for _, pointer in pointed))

    def _chosen(self, index: int) -> list[int]:
        """Choose the anchors to attend to."""
        before = max((key for key in self._anchors if key < index), default=None)
        after = min((key for key in self._anchors if key >= index), default=None)
        first = [key for key in (before, after) if key is not None][:self._attended]
        rest = sorted((key for key in self._anchors if key not in first),
                      key=lambda key: abs(key - index))
        return first + rest[:self._attended - len(first)]

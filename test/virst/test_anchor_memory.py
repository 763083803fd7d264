"""What a frame attends to, against SAM 2's rule written out for dictionaries of all frames."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.models.sam2_memory import Memory
from vseg_ros.virst.anchor_memory import AnchorMemory

Pairs = list[tuple[int, int]]


def memory_of(frame: int) -> Memory:
    return Memory(torch.full((1, 1), float(frame)), torch.full((1,), float(frame)))


def recalled(memory: AnchorMemory, frame: int) -> tuple[Pairs, Pairs]:
    """(offset, frame) of all spatial memories and of all pointers."""
    found = memory.recall(frame)
    return (sorted(zip(found.offsets, [int(each) for each in found.spatial], strict=True)),
            sorted(zip(found.pointer_offsets, [int(each) for each in found.pointers],
                       strict=True)))


def closest_anchors(frame: int, anchors: list[int], most: int) -> list[int]:
    if len(anchors) <= most:
        return anchors
    chosen = []
    if before := [each for each in anchors if each < frame]:
        chosen.append(max(before))
    if after := [each for each in anchors if each >= frame]:
        chosen.append(min(after))
    while len(chosen) < most:
        left = [each for each in anchors if each not in chosen]
        nearest = left[0]
        for each in left:
            if abs(each - frame) < abs(nearest - frame):
                nearest = each
        chosen.append(nearest)
    return chosen


def literal(frame: int, anchors: list[int], propagated: list[int], most: int, slots: int,
            pointers: int) -> tuple[Pairs, Pairs]:
    chosen = closest_anchors(frame, anchors, most)
    others = propagated + [each for each in anchors if each not in chosen]
    spatial = [(0, each) for each in chosen]
    pointed = [(frame - each, each) for each in chosen if each <= frame]
    for back in range(1, slots):
        if frame - back in others:
            spatial.append((back, frame - back))
    for back in range(1, pointers):
        if frame - back in others:
            pointed.append((back, frame - back))
    return sorted(spatial), sorted(pointed)


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(2, 24), most=st.integers(2, 4), slots=st.integers(1, 7),
       pointers=st.integers(1, 9), data=st.data())
def test_a_window_is_remembered_by_sam2s_rule(frames: int, most: int, slots: int, pointers: int,
                                              data: st.DataObject) -> None:
    anchors = data.draw(st.lists(st.integers(0, frames - 1), min_size=1, unique=True))
    anchors.sort()
    memory = AnchorMemory(most, slots, pointers)
    for anchor in anchors:
        memory.add_anchor(anchor, memory_of(anchor))
    propagated: list[int] = []
    for frame in range(frames):
        assert (frame in memory) == (frame in anchors)
        if frame not in anchors:
            assert recalled(memory, frame) == literal(frame, anchors, propagated, most, slots,
                                                      pointers)
            memory.add_recent(frame, memory_of(frame))
            propagated.append(frame)


def test_an_example_by_hand() -> None:
    memory = AnchorMemory(2, 4, 3)
    for anchor in (0, 4, 9):
        memory.add_anchor(anchor, memory_of(anchor))
    memory.add_recent(5, memory_of(5))
    assert recalled(memory, 6) == ([(0, 4), (0, 9), (1, 5)], [(1, 5), (2, 4)])


def test_of_one_anchor_the_one_before_counts() -> None:
    memory = AnchorMemory(1, 1, 9)
    for anchor in (0, 5):
        memory.add_anchor(anchor, memory_of(anchor))
    assert recalled(memory, 4)[0] == [(0, 0)]


def test_a_live_stream_attends_to_the_most_recent_anchors() -> None:
    memory = AnchorMemory(3, 7, 16)
    for frame in range(100):
        if frame % 4:
            spatial, pointed = recalled(memory, frame)
            expected = sorted(range(frame - frame % 4, -1, -4)[:3])
            assert sorted(each for offset, each in spatial if offset == 0) == expected
            near = [each for each in range(max(0, frame - 6), frame) if each % 4]
            assert sorted(each for offset, each in spatial if offset) == near
            assert max(offset for offset, each in pointed if each % 4 or offset == 1) <= 15
            memory.add_recent(frame, memory_of(frame))
        else:
            memory.add_anchor(frame, memory_of(frame))
        memory.forget_anchors(frame)
        kept = list(memory._anchors.values()) + list(memory._recent.values())
        assert len(memory._anchors) <= 3
        assert len(kept) <= 3 + 15
        assert sum(each.spatial is not None for each in kept) <= 3 + 6


def test_an_anchor_ahead_is_not_forgotten() -> None:
    memory = AnchorMemory(1, 7, 16)
    for anchor in (0, 2, 8):
        memory.add_anchor(anchor, memory_of(anchor))
    memory.forget_anchors(3)
    assert [frame in memory for frame in (0, 2, 8)] == [False, True, True]


def test_an_anchor_takes_the_place_of_a_propagated_frame() -> None:
    memory = AnchorMemory(2, 7, 16)
    memory.add_anchor(0, memory_of(0))
    memory.add_recent(1, memory_of(1))
    memory.add_anchor(1, memory_of(1))
    assert recalled(memory, 2) == ([(0, 0), (0, 1)], [(1, 1), (2, 0)])


def test_a_copy_goes_its_own_way() -> None:
    memory = AnchorMemory(3, 7, 16)
    memory.add_anchor(0, memory_of(0))
    memory.add_recent(1, memory_of(1))
    twin = memory.copy()
    assert recalled(twin, 2) == recalled(memory, 2)
    twin.add_anchor(2, memory_of(2))
    twin.add_recent(3, memory_of(3))
    assert recalled(memory, 4) == ([(0, 0), (3, 1)], [(3, 1), (4, 0)])


def test_nothing_to_recall() -> None:
    with pytest.raises(ValueError, match='predict an anchor first'):
        AnchorMemory(3, 7, 16).recall(0)

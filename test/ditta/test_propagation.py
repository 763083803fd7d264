"""Tracks through the warm-up (A2.1, A2.2): scripted teacher first, then the real flow tracker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.ditta.prompts import prompt_mask, sample_prompts
from vseg_ros.ditta.propagation import PredictedFrame, track_objects
from vseg_ros.frame import BoolArray, Frame
from vseg_ros.models.flow_tracker import FlowTracker
from vseg_ros.settings import PromptSettings

HEIGHT, WIDTH = 12, 20
SETTINGS = PromptSettings(margin=0)


class SlidingSession:
    """Every mask slides one pixel to the right a frame; notes what it is asked."""

    def __init__(self) -> None:
        self.masks: dict[int, BoolArray] = {}
        self.frames = 0
        self.position = 0
        self.calls: list[tuple[object, ...]] = []

    def append(self, image: NDArray[np.uint8]) -> int:
        self.frames += 1
        self.calls.append(('append', self.frames - 1))
        return self.frames - 1

    def track(self, index: int) -> dict[int, BoolArray]:
        assert index < self.frames
        assert abs(index - self.position) <= 1 or not self.masks
        shift = index - self.position if self.masks else 0
        self.masks = {key: self._slide(mask, shift) for key, mask in self.masks.items()}
        self.position = index
        self.calls.append(('track', index))
        return dict(self.masks)

    def _slide(self, mask: BoolArray, shift: int) -> BoolArray:
        moved = np.roll(mask, shift, axis=1)
        if shift:
            moved[:, 0 if shift > 0 else -1] = False
        return moved

    def add_point(self, index: int, object_id: int, point: tuple[float, float]) -> BoolArray:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[int(point[1]), int(point[0])] = True
        return self.add_mask(index, object_id, mask)

    def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
        assert not self.masks or index == self.position
        self.position = index
        self.masks[object_id] = mask
        self.calls.append(('add', index, object_id))
        return mask

    def forget_objects(self) -> None:
        self.masks = {}
        self.calls.append(('forget',))

    def close(self) -> None:
        self.calls.append(('close',))


class SlidingTracker:
    name = 'sliding'

    def __init__(self, *, wants_masks: bool = False) -> None:
        self.wants_masks = wants_masks
        self.session = SlidingSession()

    def open(self) -> SlidingSession:
        return self.session

    def release(self) -> None:
        pass


def frame_with(*peaks: tuple[int, int, int]) -> PredictedFrame:
    """Unsure of everything but a few pixels (row, column, label)."""
    labels, sure = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32)
    for row, column, label in peaks:
        labels[row, column], sure[row, column] = label, 0.9
    return PredictedFrame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), labels, sure)


def places(mask: BoolArray) -> list[list[int]]:
    return np.argwhere(mask).tolist()


def test_an_object_is_followed_forward_and_back_to_where_it_came_from() -> None:
    video = [frame_with(), frame_with(), frame_with((4, 8, 2)), frame_with()]
    tracker = SlidingTracker()
    tracks = track_objects(video, tracker, SETTINGS)
    assert [places(masks[1]) for masks in tracks] == [[[4, 6]], [[4, 7]], [[4, 8]], [[4, 9]]]
    assert tracker.session.calls == [
        ('append', 0), ('append', 1), ('append', 2), ('add', 2, 1), ('append', 3), ('track', 3),
        ('forget',), ('add', 2, 1), ('track', 1), ('track', 0), ('close',)]


def test_backward_pass_replays_the_same_prompts_with_the_same_ids() -> None:
    video = [frame_with((1, 3, 1)), frame_with(), frame_with((9, 8, 2)), frame_with()]
    tracker = SlidingTracker()
    tracks = track_objects(video, tracker, SETTINGS)
    added = [call for call in tracker.session.calls if call[0] == 'add']
    assert added == [('add', 0, 1), ('add', 2, 2), ('add', 2, 2), ('add', 0, 1)]
    assert [sorted(masks) for masks in tracks] == [[1, 2]] * 4
    assert [places(masks[1]) for masks in tracks] == [[[1, 3]], [[1, 4]], [[1, 5]], [[1, 6]]]
    assert [places(masks[2]) for masks in tracks] == [[[9, 6]], [[9, 7]], [[9, 8]], [[9, 9]]]


class WideningSession(SlidingSession):
    """A teacher that sees more of an object the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.walks = 0

    def forget_objects(self) -> None:
        super().forget_objects()
        self.walks += 1

    def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
        if self.walks:
            mask = mask.copy()
            mask[0, 10] = True
        return super().add_mask(index, object_id, mask)


def test_passes_are_united_except_on_the_frame_of_the_prompt() -> None:
    """Object 1 is prompted on frame 0, object 2 on frame 2; both are wider in the second pass."""
    video = [frame_with((1, 3, 1)), frame_with(), frame_with((9, 8, 2))]
    tracker = SlidingTracker()
    tracker.session = WideningSession()
    tracks = track_objects(video, tracker, SETTINGS)
    assert places(tracks[0][1]) == [[1, 3]]
    assert places(tracks[2][2]) == [[9, 8]]
    assert places(tracks[1][2]) == [[0, 9], [9, 7]]


def test_a_mask_seen_in_both_passes_is_the_union() -> None:
    class Drifting(SlidingSession):
        def _slide(self, mask: BoolArray, shift: int) -> BoolArray:
            return super()._slide(mask, shift) if shift > 0 else np.roll(mask, 1, axis=0)

        def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
            # On the way back an object of an earlier frame is known from the start.
            if ('forget',) in self.calls and index == 2:
                self.masks[1] = np.zeros_like(mask)
                self.masks[1][5, 5] = True
            return super().add_mask(index, object_id, mask)

    video = [frame_with((1, 3, 1)), frame_with(), frame_with((9, 8, 2))]
    tracker = SlidingTracker()
    tracker.session = Drifting()
    tracks = track_objects(video, tracker, SETTINGS)
    assert places(tracks[1][1]) == [[1, 4], [6, 5]]


def test_nothing_is_prompted_where_something_is_tracked() -> None:
    video = [frame_with((4, 8, 2)), frame_with((4, 9, 2)), frame_with((4, 2, 2))]
    tracks = track_objects(video, SlidingTracker(), SETTINGS)
    assert [sorted(masks) for masks in tracks] == [[1, 2], [1, 2], [1, 2]]
    assert places(tracks[2][2]) == [[4, 2]]
    tracks = track_objects(video, SlidingTracker(), PromptSettings(margin=8))
    assert [sorted(masks) for masks in tracks] == [[1], [1], [1]]


def test_never_more_objects_than_allowed_in_the_whole_warmup() -> None:
    video = [frame_with((1, 1, 1), (3, 3, 2)), frame_with((7, 7, 3), (9, 9, 1))]
    tracks = track_objects(video, SlidingTracker(), PromptSettings(max_objects=3, margin=0))
    assert sorted(tracks[1]) == [1, 2, 3]


def test_a_tracker_of_masks_gets_the_region_of_the_class() -> None:
    labels, sure = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32)
    labels[3:6, 4:9], sure[3:6, 4:9] = 1, 0.85
    sure[4, 4] = 0.1
    frame = PredictedFrame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), labels, sure)
    tracks = track_objects([frame], SlidingTracker(wants_masks=True), SETTINGS)
    assert np.array_equal(tracks[0][1], sure >= 0.8)


def test_without_a_reliable_pixel_there_are_no_tracks() -> None:
    tracker = SlidingTracker()
    assert track_objects([frame_with()] * 3, tracker, SETTINGS) == [{}, {}, {}]
    assert tracker.session.calls[-1] == ('close',)


def test_progress_grows_to_one() -> None:
    shares: list[float] = []
    track_objects([frame_with((1, 1, 1)), frame_with(), frame_with((7, 7, 2))],
                  SlidingTracker(), SETTINGS, shares.append)
    assert shares == sorted(shares)
    assert shares[2] == 0.5
    assert shares[-1] == 1


def test_session_is_closed_when_the_teacher_fails() -> None:
    class Failing(SlidingSession):
        def track(self, index: int) -> dict[int, BoolArray]:
            raise RuntimeError('out of memory')

    tracker = SlidingTracker()
    tracker.session = Failing()
    with pytest.raises(RuntimeError, match='out of memory'):
        track_objects([frame_with((1, 1, 1))] * 3, tracker, SETTINGS)
    assert tracker.session.calls[-1] == ('close',)


def test_flow_tracker_follows_a_square_both_ways(video: Callable[..., list[Frame]]) -> None:
    """The square is unreliable at first, so that it is found late and traced back."""
    predicted, truth = [], []
    for index, frame in enumerate(video(6)):
        square = (frame.image == (230, 40, 30)).all(2)
        truth.append(square)
        sure = np.where(square & (index >= 3), np.float32(0.9), np.float32(0.1))
        predicted.append(PredictedFrame(frame.image, square.astype(np.uint8), sure))
    tracks = track_objects(predicted, FlowTracker(), PromptSettings())
    for masks, square in zip(tracks, truth, strict=True):
        assert sorted(masks) == [1]
        overlap = (masks[1] & square).sum() / (masks[1] | square).sum()
        assert overlap > 0.5
    prompt, = sample_prompts(predicted[3].labels, predicted[3].reliability,
                             np.zeros_like(truth[0]), 1, 9, PromptSettings())
    assert np.array_equal(tracks[3][1], prompt_mask(prompt, predicted[3].labels,
                                                    predicted[3].reliability, 0.8))

"""Masks on optical flow, on textured shapes whose motion is known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.models import flow_tracker, optical_flow
from vseg_ros.models.flow_tracker import FlowTracker
from vseg_ros.models.mask_warp import BoxedMask, PixelOrigins, without_specks
from vseg_ros.models.optical_flow import Flow, FlowEstimator, consistent_pixels
from vseg_ros.models.tracker import create_tracker

HEIGHT, WIDTH = 180, 240


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH, contrast: float = 5,
            ) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip((smooth - 127) * contrast + 127, 0, 255).astype(np.uint8)


BACKGROUND, SURFACE = texture(1, contrast=0.3), texture(2)


def place(image: np.ndarray, matrix: np.ndarray, square: tuple[int, int] = (30, 90),
          ) -> tuple[np.ndarray, np.ndarray]:
    """Paint a textured square of SURFACE, moved by an affine matrix; return image and mask."""
    shape = np.zeros((HEIGHT, WIDTH), np.float32)
    shape[square[0]:square[1], square[0]:square[1]] = 1
    cover = cv2.warpAffine(shape, matrix, (WIDTH, HEIGHT))
    surface = cv2.warpAffine(SURFACE, matrix, (WIDTH, HEIGHT))
    mixed = image * (1 - cover[..., None]) + surface * cover[..., None]
    return mixed.astype(np.uint8), cover > 0.5


def shift(dx: float, dy: float) -> np.ndarray:
    return np.array([[1, 0, dx], [0, 1, dy]], np.float32)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / max(1, (first | second).sum())


def follow(frames: list, masks: list) -> list[np.ndarray]:
    session = FlowTracker().open()
    for image in frames:
        session.append(image)
    session.add_mask(0, 5, masks[0])
    return [session.track(index)[5] for index in range(len(frames))]


def test_motion_below_half_a_pixel_adds_up() -> None:
    frames, masks = zip(*(place(BACKGROUND, shift(0.3 * t, 0.2 * t)) for t in range(21)),
                        strict=True)
    tracked = follow(list(frames), list(masks))
    assert iou(tracked[-1], masks[-1]) > 0.93
    assert iou(masks[0], masks[-1]) < 0.8


def test_a_growing_object_keeps_its_outline() -> None:
    def zoom(t: int) -> np.ndarray:
        return cv2.getRotationMatrix2D((60, 60), 0, 1.03 ** t).astype(np.float32)
    frames, masks = zip(*(place(BACKGROUND, zoom(t)) for t in range(11)), strict=True)
    tracked = follow(list(frames), list(masks))
    assert masks[-1].sum() > 1.7 * masks[0].sum()
    assert iou(tracked[-1], masks[-1]) > 0.93


def test_what_gets_hidden_leaves_the_mask_and_stays_lost() -> None:
    bar = texture(3, contrast=0.3)
    frames, masks = [], []
    for t in range(26):
        image, mask = place(BACKGROUND, shift(5 * t, 10))
        image[:, 110:180] = bar[:, 110:180]
        mask[:, 110:180] = False
        frames.append(image)
        masks.append(mask)
    tracked = follow(frames, masks)
    assert iou(tracked[8], masks[8]) > 0.9
    assert masks[8].sum() < 0.7 * masks[0].sum()
    assert not masks[16].any()
    assert masks[-1].any()
    assert not any(mask.any() for mask in tracked[17:])


def test_an_object_that_leaves_the_frame_is_all_false() -> None:
    frames, masks = zip(*(place(BACKGROUND, shift(-7.0 * t, 0)) for t in range(15)), strict=True)
    tracked = follow(list(frames), list(masks))
    assert iou(tracked[8], masks[8]) > 0.85
    assert not tracked[-1].any()
    assert tracked[-1].shape == (HEIGHT, WIDTH)


def test_a_surface_goes_on_where_the_camera_turns_to_see_more_of_it() -> None:
    ground = texture(7, HEIGHT, WIDTH + 20)
    frames = [np.ascontiguousarray(ground[:HEIGHT, 3 * t:3 * t + WIDTH]) for t in range(6)]
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[100:] = True
    tracked = follow(frames, [mask])
    assert iou(tracked[-1], mask) > 0.97


def test_nothing_survives_a_cut() -> None:
    frames, masks = zip(*(place(BACKGROUND, shift(t, 0)) for t in range(2)), strict=True)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    tracked = follow([*frames, noise], list(masks))
    assert tracked[1].any()
    assert not tracked[2].any()


def test_both_directions_share_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    between = FlowEstimator.between

    def counted(self: FlowEstimator, first: np.ndarray, second: np.ndarray) -> tuple[Flow, Flow]:
        computed.append(1)
        return between(self, first, second)
    monkeypatch.setattr(FlowEstimator, 'between', counted)
    frames, masks = zip(*(place(BACKGROUND, shift(2.4 * t, t)) for t in range(9)), strict=True)
    session = FlowTracker().open()
    for index, image in enumerate(frames):
        assert session.append(image) == index
        assert set(session.track(index)) == (set() if index == 0 else {1})
        if index == 0:
            session.add_mask(0, 1, masks[0])
    forward = session.track(8)[1]
    session.forget_objects()
    assert session.track(8) == {}
    session.add_mask(8, 2, masks[8])
    for index in range(7, -1, -1):
        backward = session.track(index)[2]
    assert iou(forward, masks[8]) > 0.95
    assert iou(backward, masks[0]) > 0.95
    assert len(computed) == 8


def test_flow_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_tracker, 'KEPT_PAIRS', 2)
    frames, masks = zip(*(place(BACKGROUND, shift(t, 0)) for t in range(6)), strict=True)
    session = FlowTracker().open()
    for image in frames:
        session.append(image)
    session.add_mask(0, 1, masks[0])
    for index in (1, 2, 3, 4, 5, 4, 3, 2, 1):
        tracked = session.track(index)[1]
        assert len(session._flows) <= 2
    assert iou(tracked, masks[1]) > 0.95


def test_objects_may_overlap_and_join_later() -> None:
    frames, masks = zip(*(place(BACKGROUND, shift(2 * t, 0)) for t in range(7)), strict=True)
    session = FlowTracker().open()
    for image in frames:
        session.append(image)
    inner = np.zeros_like(masks[3])
    inner[40:70, 50:80] = True
    session.add_mask(0, 1, masks[0])
    for index in range(1, 4):
        session.track(index)
    assert np.array_equal(session.add_mask(3, 9, inner), inner)
    for index in range(4, 7):
        tracked = session.track(index)
    assert iou(tracked[1], masks[6]) > 0.95
    assert iou(tracked[9], np.roll(inner, 6, axis=1)) > 0.9


def test_large_frames_are_matched_at_the_working_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optical_flow, 'WORKING_SIDE', 120)
    assert FlowEstimator().prepare(BACKGROUND).shape == (90, 120)
    frames, masks = zip(*(place(BACKGROUND, shift(3 * t, 1.5 * t)) for t in range(7)), strict=True)
    tracked = follow(list(frames), list(masks))
    assert iou(tracked[-1], masks[-1]) > 0.9


def test_flow_is_inconsistent_where_background_gets_hidden() -> None:
    first, before = place(BACKGROUND, shift(0, 0))
    second, after = place(BACKGROUND, shift(8, 0))
    estimator = FlowEstimator()
    there, back = estimator.between(estimator.prepare(first), estimator.prepare(second))
    assert there.consistent[after & ~before].mean() < 0.5
    assert back.consistent[before & ~after].mean() < 0.5
    inner = cv2.erode(before.astype(np.uint8), np.ones((9, 9))) > 0
    assert there.consistent[inner].mean() > 0.98
    np.testing.assert_allclose(there.displacement[inner].mean(axis=0), (8, 0), atol=0.1)


def test_consistency_of_a_given_flow() -> None:
    there = np.full((10, 12, 2), (2, 0), np.float32)
    back = -there
    back[:, 6] = (-9, 0)
    consistent = consistent_pixels(there, back)
    assert consistent[:, :4].all()
    assert not consistent[:, 4].any()
    assert consistent[:, 5:10].all()
    assert not consistent[:, 10:].any()


def test_small_holes_and_specks_go_but_the_largest_part_stays() -> None:
    pixels = np.zeros((30, 30), np.uint8)
    pixels[5:20, 5:20] = 1
    pixels[8, 8] = 0
    pixels[10:15, 10:15] = 0
    pixels[25, 25] = 1
    cleaned = without_specks(pixels, 9)
    assert cleaned[8, 8] == 1
    assert not cleaned[10:15, 10:15].any()
    assert cleaned[25, 25] == 0
    speck = np.zeros((5, 5), np.uint8)
    speck[2, 2] = 1
    assert np.array_equal(without_specks(speck, 9), speck)


def test_a_new_mask_starts_without_what_was_rounded_before() -> None:
    def uniform(dx: float) -> Flow:
        displacement = np.zeros((40, 60, 2), np.float16)
        displacement[..., 0] = dx
        return Flow(displacement, np.ones((40, 60), np.bool_))
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 20:40] = True
    moved = []
    for prompted in (False, True):
        origins = PixelOrigins((40, 60))
        origins.move(uniform(-0.4), uniform(0.4))
        if prompted:
            origins.prompted(np.ones_like(mask))
        origins.move(uniform(-0.3), uniform(0.3))
        moved.append(origins.carry(BoxedMask.cut(mask.astype(np.uint8)))[0].x)
    assert moved == [21, 20]


def test_a_boxed_mask_pastes_back() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[3:9, 11:29] = True
    boxed = BoxedMask.cut(mask.astype(np.uint8))
    assert (boxed.x, boxed.y, boxed.pixels.shape, boxed.area) == (11, 3, (6, 18), 108)
    assert np.array_equal(boxed.paste(mask.shape), mask)
    assert not BoxedMask.cut(np.zeros((20, 30), np.uint8)).paste((20, 30)).any()


def test_the_factory_makes_it() -> None:
    tracker = create_tracker('flow')
    assert isinstance(tracker, FlowTracker)
    assert (tracker.name, tracker.wants_masks) == ('flow', True)
    tracker.release()
    assert tracker.open().append(BACKGROUND) == 0


def test_mistakes_are_named() -> None:
    session = FlowTracker().open()
    image, mask = place(BACKGROUND, shift(0, 0))
    with pytest.raises(ValueError, match='uint8'):
        session.append(image.astype(np.float32))
    for _ in range(4):
        session.append(image)
    with pytest.raises(ValueError, match='240x180'):
        session.append(image[:-1])
    with pytest.raises(IndexError):
        session.track(4)
    with pytest.raises(ValueError, match='bool'):
        session.add_mask(0, 1, mask.astype(np.uint8))
    with pytest.raises(ValueError, match='add_mask'):
        session.add_point(0, 1, (5.0, 5.0))
    session.track(3)
    session.add_mask(1, 1, mask)
    with pytest.raises(ValueError, match='next to'):
        session.track(3)
    with pytest.raises(ValueError, match='on frame 1'):
        session.add_mask(2, 2, mask)
    session.close()
    with pytest.raises(IndexError):
        session.track(0)

"""Frames, segmentations and mask tracks check themselves and cannot be written to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vseg_ros.frame import Frame, MaskTrack, Segmentation
from vseg_ros.labels import DRIVING

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_frame_keeps_image_stamp_and_frame_id() -> None:
    frame = Frame(IMAGE, np.int64(7), 'camera')
    assert (frame.size, frame.stamp, frame.frame_id) == ((4, 6), 7, 'camera')
    assert type(frame.stamp) is int
    assert np.shares_memory(frame.image, IMAGE)


def test_frame_is_read_only_and_leaves_the_callers_array_writable() -> None:
    image = IMAGE.copy()
    frame = Frame(image)
    with pytest.raises(ValueError, match='read-only'):
        frame.image[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.stamp = 3  # type: ignore[misc]
    image[0, 0] = 1


@pytest.mark.parametrize('image', [
    np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3), np.float32),
    np.zeros((0, 6, 3), np.uint8), np.zeros((2, 4, 6, 3), np.uint8)])
def test_frame_refuses_what_is_no_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'uint8 \[H, W, 3\], not'):
        Frame(image)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_segmentation_is_read_only(dtype: type) -> None:
    found = Segmentation(np.zeros((4, 6), dtype), np.ones((4, 6), np.float32), DRIVING)
    assert found.labels.dtype == dtype
    for array in (found.labels, found.confidence):
        with pytest.raises(ValueError, match='read-only'):
            array[0, 0] = 1


@pytest.mark.parametrize(('labels', 'confidence', 'message'), [
    (np.zeros((4, 6), np.int64), np.ones((4, 6), np.float32), 'labels are uint8 or uint16'),
    (np.zeros((4, 6, 1), np.uint8), np.ones((4, 6), np.float32), 'labels are uint8 or uint16'),
    (np.zeros((4, 6), np.uint8), np.ones((4, 6)), 'confidence is float32'),
    (np.zeros((4, 6), np.uint8), np.ones((6, 4), np.float32), r'\[4, 6\] like the labels')])
def test_segmentation_refuses_maps_that_do_not_fit(
        labels: np.ndarray, confidence: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmentation(labels, confidence, DRIVING)


def test_mask_track_covers_the_same_frames() -> None:
    masks, visible = np.zeros((3, 4, 6), bool), np.ones(3, bool)
    track = MaskTrack(masks, (1, 2, 3), visible, 0.5, 'the car')
    with pytest.raises(ValueError, match='read-only'):
        track.masks[0] = True
    with pytest.raises(ValueError, match='read-only'):
        track.visible[0] = False
    with pytest.raises(ValueError, match='3 masks, 2 stamps and 3 visibilities'):
        MaskTrack(masks, (1, 2), visible, 0.5)
    with pytest.raises(ValueError, match=r'bool \[T, H, W\], not uint8'):
        MaskTrack(masks.astype(np.uint8), (1, 2, 3), visible, 0.5)

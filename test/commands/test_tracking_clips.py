"""Clips for training: numbers that stay with their things, pans over labelled images, notes."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.commands.tracking_clips import (
    THINGS,
    JoinedClips,
    PannedClips,
    StreetClips,
    read_notes,
    street_regions,
    write_notes,
)
from vseg_ros.datasets.street_queries import clip_facts
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import DRIVING
from vseg_ros.models.tracker_training import FIRST_STUFF

ROAD, SKY, CAR = 0, 9, 12
SIZE = 60, 90
COLORS = {ROAD: (90, 90, 90), SKY: (120, 170, 240), CAR: (200, 20, 20), 255: (0, 0, 0)}


def painted_labels(cars: int = 2) -> np.ndarray:
    labels = np.full(SIZE, ROAD, np.uint8)
    labels[:20] = SKY
    for number in range(cars):
        labels[30:40, 8 + 30 * number:24 + 30 * number] = CAR
    labels[50:, 70:] = 255
    return labels


def folder(path: Path, labels: np.ndarray) -> ImageFolder:
    """Write one image, painted by its labels, and read the folder."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for number, color in COLORS.items():
        image[labels == number] = color
    for name, content in (('images', image[..., ::-1]), ('labels', labels)):
        (path / name).mkdir(parents=True)
        cv2.imwrite(str(path / name / 'drive_00000.png'), content)
    return ImageFolder(path / 'images', path / 'labels', label_set=DRIVING)


@pytest.fixture(scope='module')
def streets() -> StreetClips:
    return StreetClips(3, 2)


def test_a_street_numbers_things_and_stuff(streets: StreetClips) -> None:
    frames, _ = streets.frames(1)
    clip = streets[1]
    assert clip.regions.dtype == np.uint16
    for image, regions, frame in zip(clip.images, clip.regions, frames, strict=True):
        assert np.array_equal(image, frame.frame.image)
        things = frame.instances > 0
        assert things.any()
        assert np.array_equal(regions[things], frame.instances[things])
        rest = frame.labels[~things].astype(int)
        expected = np.where(rest == DRIVING.ignore_id, 0, FIRST_STUFF + rest)
        assert np.array_equal(regions[~things], expected)
        assert frame.instances.max() < FIRST_STUFF
    assert frames[0].frame.stamp < frames[1].frame.stamp


def test_streets_differ_and_come_again(streets: StreetClips) -> None:
    assert len(streets) == 3
    again = StreetClips(3, 2)[2]
    assert np.array_equal(again.images, streets[2].images)
    assert again.notes == streets[2].notes
    assert not np.array_equal(streets[0].images, streets[2].images)
    for index in (3, -1):
        with pytest.raises(IndexError):
            streets[index]


def test_unlabelled_pixels_are_nothing(streets: StreetClips) -> None:
    frame = streets.frames(0)[0][0]
    labels, instances = np.full((2, 3), 255, np.uint8), np.zeros((2, 3), np.uint16)
    labels[0], instances[0, 0] = SKY, 7
    changed = type(frame)(**{**vars(frame), 'labels': labels, 'instances': instances})
    assert street_regions(changed).tolist() == [[7, FIRST_STUFF + SKY, FIRST_STUFF + SKY],
                                                [0, 0, 0]]


def test_notes_hold_the_facts_of_a_clip(streets: StreetClips) -> None:
    frames, dark = streets.frames(0)
    expected = clip_facts([frame.attributes for frame in frames],
                          [frame.frame.stamp / 1e9 for frame in frames], frames[0].frame.size,
                          dark=dark)
    found = read_notes(write_notes(frames, dark))
    assert read_notes(streets[0].notes).dark == found.dark == dark
    assert len(found.things) == len(expected.things) > 0
    assert (found.camera_speed, found.floor) == (expected.camera_speed, expected.floor)
    assert np.array_equal(found.times, expected.times)
    for ours, theirs in zip(found.things, expected.things, strict=True):
        for a, b in zip(astuple(ours), astuple(theirs), strict=True):
            np.testing.assert_array_equal(np.asarray(a, object), np.asarray(b, object))


def test_a_pan_keeps_things_apart_and_stuff_together(tmp_path: Path) -> None:
    clips = PannedClips([folder(tmp_path, painted_labels())], 4, 3, (48, 64))
    assert len(clips) == 4
    numbers: set[int] = set()
    for index in range(4):
        clip = clips[index]
        assert clip.images.shape == (3, 48, 64, 3)
        assert (clip.regions.shape, clip.regions.dtype) == ((3, 48, 64), np.uint16)
        assert clip.notes == ''
        numbers |= set(np.unique(clip.regions).tolist())
    cars = {number for number in numbers if 0 < number < FIRST_STUFF}
    assert len(cars) == 2
    assert numbers - cars == {0, FIRST_STUFF + ROAD, FIRST_STUFF + SKY}
    assert CAR in THINGS
    assert np.array_equal(clips[1].regions, clips[1].regions)
    assert not np.array_equal(clips[0].regions, clips[1].regions)
    with pytest.raises(IndexError):
        clips[4]


def test_a_thing_keeps_its_number_and_its_colour(tmp_path: Path) -> None:
    labels = painted_labels(0)
    labels[25:45, 20:60] = CAR
    clip = PannedClips([folder(tmp_path, labels)], 1, 4, (48, 64))[0]
    cars = [int(number) for number in np.unique(clip.regions) if 0 < number < FIRST_STUFF]
    assert len(cars) == 1
    for image, regions in zip(clip.images, clip.regions, strict=True):
        red, green, _ = image[regions == cars[0]].mean(0)
        assert red > green + 40


def test_more_patches_than_numbers_leave_the_last_out(tmp_path: Path) -> None:
    labels = np.full(SIZE, ROAD, np.uint8)
    labels[::3, ::4] = CAR
    clip = PannedClips([folder(tmp_path, labels)], 1, 2, SIZE)[0]
    things = clip.regions[(clip.regions > 0) & (clip.regions < FIRST_STUFF)]
    assert 0 < len(np.unique(things)) < 255


def test_images_without_labels_are_the_users_error(tmp_path: Path) -> None:
    folder(tmp_path, painted_labels())
    cv2.imwrite(str(tmp_path / 'images' / 'drive_00001.png'), np.zeros((*SIZE, 3), np.uint8))
    clips = PannedClips([ImageFolder(tmp_path / 'images', tmp_path / 'labels',
                                     label_set=DRIVING)], 2, 2)
    assert clips[0].regions.any()
    with pytest.raises(UserError, match=r'image 1 of .* has no labels'):
        clips[1]
    assert len(PannedClips([], 5, 2)) == 0


def test_sources_follow_each_other(streets: StreetClips, tmp_path: Path) -> None:
    pans = PannedClips([folder(tmp_path, painted_labels())], 2, 2, SIZE)
    joined = JoinedClips(streets, pans)
    assert len(joined) == 5
    assert np.array_equal(joined[2].images, streets[2].images)
    assert np.array_equal(joined[3].images, pans[0].images)
    assert np.array_equal(joined[4].regions, pans[1].regions)
    for index in (5, -1):
        with pytest.raises(IndexError):
            joined[index]

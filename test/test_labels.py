"""Label sets, their colours, and maps between ids."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.labels import CAMVID11_NAMES, CAMVID11_TO_DRIVING, DRIVING, LabelSet, label_table


def test_driving_classes_and_cityscapes_colours() -> None:
    assert len(DRIVING) == 15
    assert DRIVING.ignore_id == 255
    assert DRIVING.names.index('sky') == 9
    assert DRIVING.palette[DRIVING.names.index('road')] == (128, 64, 128)
    assert DRIVING.palette[DRIVING.names.index('car')] == (0, 0, 142)
    assert len(set(DRIVING.palette)) == 15


def test_camvid_ids_reach_the_driving_class_of_the_same_thing() -> None:
    table = label_table(CAMVID11_TO_DRIVING)
    reached = [DRIVING.names[table[i]] for i in range(len(CAMVID11_NAMES))]
    assert reached == ['sky', 'building', 'pole', 'road', 'sidewalk', 'vegetation',
                       'traffic sign', 'fence', 'car', 'person', 'rider']
    assert (table[11:] == 255).all()
    assert table.dtype == np.uint8


@pytest.mark.parametrize(('names', 'palette', 'ignore', 'message'), [
    ((), (), 255, '0 class names'),
    (('a', 'b'), ((0, 0, 0),), 255, '2 class names need as many colours, not 1'),
    (('a', 'b'), ((0, 0, 0),) * 2, 1, 'ignore id 1'),
    (('a', 'b'), ((0, 0, 0),) * 2, -1, 'ignore id -1'),
    (('a', 'b'), ((0, 0, 0),) * 2, 70000, 'ignore id 70000')])
def test_refuses_sets_that_contradict_themselves(
        names: tuple[str, ...], palette: tuple[tuple[int, int, int], ...], ignore: int,
        message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet(names, palette, ignore)


def test_from_names_keeps_known_colours_and_spreads_the_others() -> None:
    names = ['sky', *(f'thing {i}' for i in range(40))]
    label_set = LabelSet.from_names(names)
    assert label_set.names == tuple(names)
    assert label_set.palette[0] == DRIVING.palette[9]
    colours = np.array(label_set.palette[1:], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(-1)
    assert distances[~np.eye(40, dtype=bool)].min() >= 10


@pytest.mark.parametrize(('count', 'ignore', 'dtype'), [
    (255, 255, np.uint8), (256, 65535, np.uint16)])
def test_many_classes_take_16_bits(count: int, ignore: int, dtype: type) -> None:
    label_set = LabelSet.from_names([str(i) for i in range(count)])
    assert (label_set.ignore_id, label_set.dtype) == (ignore, dtype)
    last = np.array([[count - 1, ignore]], dtype)
    np.testing.assert_array_equal(label_set.colorize(last),
                                  [[label_set.palette[-1], (0, 0, 0)]])


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_colorize_paints_black_what_is_no_class(dtype: type) -> None:
    painted = DRIVING.colorize(np.array([[0, 14, 15, 255]], dtype))
    np.testing.assert_array_equal(
        painted, [[DRIVING.palette[0], DRIVING.palette[14], (0, 0, 0), (0, 0, 0)]])
    assert painted.dtype == np.uint8


def test_ids_far_outside_the_set_are_black_too() -> None:
    labels = np.array([[-1, 300, 65535]])
    assert not DRIVING.colorize(labels).any()
    image = np.full((1, 3, 3), 77, np.uint8)
    np.testing.assert_array_equal(DRIVING.overlay(image, labels), image)


def test_overlay_mixes_labelled_pixels_only() -> None:
    image = np.full((1, 2, 3), 200, np.uint8)
    labels = np.array([[0, 255]], np.uint8)
    mixed = DRIVING.overlay(image, labels, 0.5)
    np.testing.assert_array_equal(mixed, [[(164, 132, 164), (200, 200, 200)]])
    np.testing.assert_array_equal(DRIVING.overlay(image, labels, 1.0)[0, 0], DRIVING.palette[0])
    np.testing.assert_array_equal(DRIVING.overlay(image, labels, 0.0), image)

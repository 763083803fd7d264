"""Label sets, their colours, and maps between ids."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.labels import (
    APOLLOSCAPE_TO_DRIVING,
    CAMVID11_NAMES,
    CAMVID11_TO_DRIVING,
    CAMVID32_NAMES,
    CAMVID32_PALETTE,
    CAMVID32_TO_DRIVING,
    CITYSCAPES_TO_DRIVING,
    CITYSCAPES_TRAIN_TO_DRIVING,
    DRIVING,
    KITTI360_TO_DRIVING,
    LabelSet,
    ids_of_colors,
    label_table,
)

# Time2General, Table 8: class, Cityscapes trainIds, ApolloScape trainIds, CamVid ids.
TABLE_8 = """
0   0      9    17
1   1      10   19
2   2      20   4
3   3      17   30
4   4      13   9
5   5      15   8
6   6      14   24
7   7      16   20
8   8      21   26+29
9   10     0    21
10  11     4    16
11  12     5    2
12  13     1    5
13  14+15  6+7  27
14  17     2    13"""


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


def column_of_table_8(column: int) -> dict[int, int]:
    rows = [line.split() for line in TABLE_8.strip().splitlines()]
    return {int(source): int(row[0]) for row in rows for source in row[column].split('+')}


def test_cityscapes_train_ids_are_those_of_table_8() -> None:
    assert column_of_table_8(1) == CITYSCAPES_TRAIN_TO_DRIVING


def test_cityscapes_label_ids_are_the_same_classes() -> None:
    # The labelIds of trainIds 0 to 18, as the data set defines them.
    label_ids = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    assert {label_ids[train]: driving for train, driving
            in CITYSCAPES_TRAIN_TO_DRIVING.items()} == CITYSCAPES_TO_DRIVING
    extra = {34: 'building', 35: 'fence', 37: 'pole'}
    assert {**CITYSCAPES_TO_DRIVING, **{number: DRIVING.names.index(name)
                                        for number, name in extra.items()}} == KITTI360_TO_DRIVING


def test_apolloscape_class_ids_have_the_train_ids_of_table_8() -> None:
    # Class ids of trainIds 0 to 21, as the data set's page lists them.
    class_ids = (17, 33, 34, 35, 36, 37, 38, 39, 40, 49, 50, 65, 66, 67, 81, 82, 83, 84, 85, 86,
                 97, 113)
    expected = {class_ids[train]: driving for train, driving in column_of_table_8(2).items()}
    groups = {number + 128: driving for number, driving in expected.items() if 33 <= number <= 40}
    assert {**expected, **groups} == APOLLOSCAPE_TO_DRIVING


def test_camvid_ids_are_those_of_table_8_but_for_the_wall() -> None:
    printed = column_of_table_8(3)
    assert CAMVID32_NAMES[30:] == ('Void', 'Wall')
    assert printed.pop(30) == DRIVING.names.index('wall')
    assert {**printed, 31: DRIVING.names.index('wall')} == CAMVID32_TO_DRIVING


def test_camvid_names_are_in_order_and_no_colour_comes_twice() -> None:
    # SUVPickupTruck stands after Sky: the file sorts without regard to case.
    assert list(CAMVID32_NAMES) == sorted(CAMVID32_NAMES, key=str.lower)
    assert len(set(CAMVID32_PALETTE)) == len(CAMVID32_NAMES) == 32
    by_name = dict(zip(CAMVID32_NAMES, CAMVID32_PALETTE, strict=True))
    assert by_name['Road'] == (128, 64, 128)
    assert by_name['Wall'] == (64, 192, 0)
    assert by_name['Void'] == (0, 0, 0)


def test_ids_of_colours_equal_a_search_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    image = random.choice(np.array([0, 64, 128, 192, 193], np.uint8), (40, 30, 3))
    image[0, :, :] = np.array(CAMVID32_PALETTE[:30])
    ids = ids_of_colors(image, CAMVID32_PALETTE)
    for row in range(40):
        for column in range(30):
            color = tuple(image[row, column].tolist())
            expected = CAMVID32_PALETTE.index(color) if color in CAMVID32_PALETTE else 7
            found = 7 if ids[row, column] == 255 else ids[row, column]
            assert found == expected
    assert ids.dtype == np.uint8
    assert 0 < (ids == 255).sum() < ids.size
    assert (ids_of_colors(image, [(1, 2, 3)], ignore_id=9) == 9).all()

"""Names of published classes."""

from __future__ import annotations

import pytest

from vseg_ros.class_names import ADE20K, CITYSCAPES, LABEL_SETS, VSPW, plain_name
from vseg_ros.labels import CITYSCAPES_TRAIN_TO_DRIVING, DRIVING


@pytest.mark.parametrize(('name', 'count'), [
    ('driving', 15), ('cityscapes', 19), ('vspw', 124), ('ade20k', 150)])
def test_names_and_colours_tell_classes_apart(name: str, count: int) -> None:
    label_set = LABEL_SETS[name]
    assert len({plain_name(each) for each in label_set.names}) == len(label_set) == count
    assert len(set(label_set.palette)) == count
    assert label_set.ignore_id == 255


def test_ids_are_those_of_the_published_lists() -> None:
    # label_num_dic_final.json numbers VSPW's classes from 1, objectInfo150.txt ADE20K's.
    for number, name in ((1, 'wall'), (8, 'handrail_or_fence'), (20, 'path'), (61, 'person'),
                         (99, 'other_machine'), (124, 'train')):
        assert VSPW.names[number - 1] == name
    for number, name in ((1, 'wall'), (7, 'road'), (13, 'person'), (21, 'car'), (84, 'truck'),
                         (137, 'traffic light'), (150, 'flag')):
        assert ADE20K.names[number - 1] == name


def test_cityscapes_names_are_in_the_order_of_the_train_ids() -> None:
    for train, driving in CITYSCAPES_TRAIN_TO_DRIVING.items():
        name = CITYSCAPES.names[train]
        assert DRIVING.names[driving] == ('truck_bus' if name in ('truck', 'bus') else name)
        if name not in ('truck', 'bus'):
            assert CITYSCAPES.palette[train] == DRIVING.palette[driving]


def test_spellings_of_one_name() -> None:
    assert {plain_name(name) for name in ('traffic light', 'Traffic_Light', 'traffic light ')} == {
        'traffic light'}
    assert plain_name('truck_bus') != plain_name('truckbus')

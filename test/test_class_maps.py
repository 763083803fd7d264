"""Class maps against the papers' tables, and what a wrong one ends in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vseg_ros.class_maps import CLASS_MAPS, find_class_map, subset
from vseg_ros.class_names import ADE20K, CITYSCAPES, LABEL_SETS, VSPW, plain_name
from vseg_ros.errors import UserError
from vseg_ros.labels import CITYSCAPES_TRAIN_TO_DRIVING, DRIVING

# DiTTA, supplement, Table A1: VSPW; Cityscapes.
TABLE_A1 = """
road; road
path; sidewalk
building; building
wall; wall
handrail, fence; fence
pole; pole
traffic light; traffic light
-; traffic sign
wood, tree, flower, other plant; vegetation
grass; terrain
sky; sky
person; person, rider
car; car
truck; truck
bus; bus
train; train
motorcycle; motorcycle
bicycle; bicycle"""


@pytest.mark.parametrize('name', CLASS_MAPS)
def test_every_name_in_a_table_is_a_class(name: str) -> None:
    class_map = CLASS_MAPS[name]
    assert class_map.name == name
    assert set(class_map.source_of) <= set(class_map.target.names)
    assert set(class_map.truth_of) <= set(class_map.source_of)
    for members, label_set in ((class_map.source_of, LABEL_SETS[class_map.source]),
                               (class_map.truth_of, LABEL_SETS[class_map.truth])):
        named = [member for each in members.values() for member in each]
        assert set(named) <= set(label_set.names)
        assert len(named) == len(set(named)), 'a class has one target'
        assert all(members.values())


def test_vspw_to_cityscapes_is_table_a1() -> None:
    class_map = find_class_map('vspw-cityscapes')
    groups = class_map.groups(VSPW.names)
    table = class_map.truth_table()
    rows = [[[name.strip() for name in cell.split(',')] for cell in line.split(';')]
            for line in TABLE_A1.strip().splitlines()]
    assert {name for _, truths in rows for name in truths} == set(CITYSCAPES.names)
    for sources, truths in rows:
        if sources == ['-']:
            assert [table[CITYSCAPES.names.index(name)] for name in truths] == [255]
            continue
        if sources == ['handrail', 'fence']:
            sources = ['handrail or fence']  # one class of VSPW
        target = class_map.target.names.index(truths[0])
        assert {plain_name(VSPW.names[number]) for number in groups[target]} == set(sources)
        for name in truths:
            assert table[CITYSCAPES.names.index(name)] == target
    assert len(class_map.target) == len(rows) - 1 == 17
    assert (table[19:] == 255).all()


def test_ade20k_to_vspw_scores_the_overlap_alone() -> None:
    class_map = find_class_map('ade20k-vspw')
    table = class_map.truth_table()
    kept = [name for name in VSPW.names if name in class_map.source_of]
    assert class_map.target.names == tuple(kept)
    for number, name in enumerate(VSPW.names):
        expected = kept.index(name) if name in kept else 255
        assert table[number] == expected
        if name in kept:
            assert class_map.target.palette[expected] == VSPW.palette[number]
    shared = {plain_name(name) for name in ADE20K.names} & {plain_name(name) for name in
                                                            VSPW.names}
    assert 'traffic light' in shared
    assert {plain_name(name) for name in kept} >= shared
    for name in kept:
        if plain_name(name) in shared:
            assert plain_name(name) in class_map.source_of[name], 'the same name, the same class'


def test_driving_maps_keep_the_ids_of_the_driving_classes() -> None:
    for name in ('vspw-driving', 'ade20k-driving', 'cityscapes-driving'):
        assert find_class_map(name).target == DRIVING
    groups = find_class_map('cityscapes-driving').groups(CITYSCAPES.names)
    assert {train: driving for driving, group in enumerate(groups) for train in group} == (
        CITYSCAPES_TRAIN_TO_DRIVING)
    for name, missing in (('vspw-driving', ['traffic sign', 'rider']),
                          ('ade20k-driving', ['rider'])):
        class_map = find_class_map(name)
        groups = class_map.groups(LABEL_SETS[class_map.source].names)
        assert [DRIVING.names[i] for i, group in enumerate(groups) if not group] == missing
        table = class_map.truth_table()
        assert table[DRIVING.names.index('rider')] == DRIVING.names.index('person')
        assert (table[DRIVING.names.index('traffic sign')] == 255) == ('traffic sign' in missing)


@pytest.mark.parametrize('name', ['cityscapes', 'vspw', 'ade20k'])
def test_a_data_set_to_itself_changes_nothing(name: str) -> None:
    class_map = find_class_map(name)
    count = len(class_map.target)
    assert class_map.groups(LABEL_SETS[name].names) == [[number] for number in range(count)]
    np.testing.assert_array_equal(class_map.truth_table()[:count], np.arange(count))


def test_other_spellings_and_orders_of_a_checkpoint_are_understood() -> None:
    names = [f' {name.upper().replace(" ", "_")} ' for name in reversed(CITYSCAPES.names)]
    groups = find_class_map('cityscapes-driving').groups(names)
    plain = find_class_map('cityscapes-driving').groups(CITYSCAPES.names)
    assert groups == [[18 - number for number in group] for group in plain]


def test_another_segmenter_and_an_unknown_map_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"'vspw-cityscapes' is for segmenters with the 124 "
                                        r"classes of vspw, but this one has 15 \(road, sidewalk, "
                                        r"building, …\) and no 'path': choose another"):
        find_class_map('vspw-cityscapes').groups(DRIVING.names)
    with pytest.raises(UserError, match="no class map 'x': choose one of vspw-cityscapes, ade20k"):
        find_class_map('x')


def test_a_subset_keeps_order_and_colours() -> None:
    part = subset(DRIVING, ['car', 'road'])
    assert part.names == ('road', 'car')
    assert part.palette == (DRIVING.palette[0], DRIVING.palette[12])


def test_the_tables_of_the_documentation_are_these() -> None:
    page = (Path(__file__).parent.parent / 'docs' / 'datasets.md').read_text()
    for name in ('vspw-cityscapes', 'ade20k-vspw'):
        class_map = CLASS_MAPS[name]
        for target in class_map.target.names:
            assert (f'| {", ".join(class_map.truth_of[target])} | '
                    f'{", ".join(class_map.source_of[target])} |\n') in page
    maps = [CLASS_MAPS[f'{name}-driving'] for name in ('cityscapes', 'ade20k', 'vspw')]
    for target in DRIVING.names:
        cells = [', '.join(class_map.source_of.get(target, ('-',))) for class_map in maps]
        assert f'| {target} | {" | ".join(cells)} |\n' in page
    assert all(f'`{name}`' in page for name in CLASS_MAPS)

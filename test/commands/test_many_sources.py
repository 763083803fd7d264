"""Several sources and patterns: what is opened, in which order, and under which names."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.commands.many_sources import find_sources, open_all
from vseg_ros.errors import UserError


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """Three folders of images, two of one name."""
    for name in ('one/drive2', 'one/drive10', 'two/drive2'):
        (tmp_path / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / '0.png'), np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_a_pattern_is_replaced_by_what_matches_in_natural_order(drives: Path) -> None:
    found = find_sources([f'{drives}/one/*', 'street:1:5', f'{drives}/one/drive2', 'street:1:5'])
    assert found == [f'{drives}/one/drive2', f'{drives}/one/drive10', 'street:1:5']
    (drives / 'a[1]').mkdir()
    assert find_sources([f'{drives}/a[1]']) == [f'{drives}/a[1]']


def test_names_stay_apart(drives: Path) -> None:
    videos = open_all([f'{drives}/*/drive*', 'street:1:5', 'street:1:6'])
    assert [video.name for video in videos] == [
        f'drive2 of {drives}/one/drive2', 'drive10', f'drive2 of {drives}/two/drive2',
        'street-1 of street:1:5', 'street-1 of street:1:6']
    assert [video.frame_count for video in videos] == [1, 1, 1, 5, 6]
    assert videos[0].path == drives / 'one' / 'drive2'
    assert len(list(videos[3])) == 5
    assert videos[3].label_set == videos[4].label_set


def test_all_that_do_not_open_are_named_at_once(drives: Path) -> None:
    (drives / 'empty').mkdir()
    with pytest.raises(UserError, match=r'2 of 3 sources do not open: .*gone.*; .*empty'):
        open_all([f'{drives}/gone', 'street:1', f'{drives}/empty'])
    with pytest.raises(UserError, match=r'^there is no gone'):
        open_all(['gone'])
    with pytest.raises(UserError, match='; and 3 more'):
        open_all([f'gone{number}' for number in range(8)])


def test_a_pattern_without_a_match(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing matches .*\*\.mcap'.*quote"):
        find_sources([f'{tmp_path}/*.mcap'])

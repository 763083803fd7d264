from __future__ import annotations

import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.every_nth import EveryNth
from vseg_ros.io.source import open_source


@pytest.mark.parametrize('count', [0, 1, 7, 8, 9])
@pytest.mark.parametrize('stride', [1, 2, 3, 8, 100])
def test_first_frame_and_every_nth_after_it(list_source, frames, count, stride):
    items = frames(count)
    source = EveryNth(list_source(items), stride)
    kept = list(source)
    assert [item.frame.stamp for item in kept] == [item.frame.stamp for item in items[::stride]]
    assert all(item is items[index * stride] for index, item in enumerate(kept))
    assert source.frame_count == len(kept)
    assert [item.frame.stamp for item in source] == [item.frame.stamp for item in kept]


def test_all_else_is_the_source(source):
    every = EveryNth(source, 3)
    assert (every.name, every.path) == (source.name, source.path)
    assert every.label_set is source.label_set


def test_an_unknown_count_stays_unknown(source):
    source.frame_count = None
    assert EveryNth(source, 2).frame_count is None


def test_a_bag_keeps_labels_and_stamps(tmp_path, source):
    write_camera_bag(source, tmp_path / 'drive.mcap')
    bag = open_source(tmp_path / 'drive.mcap')
    kept = list(EveryNth(bag, 3))
    assert len(kept) == EveryNth(bag, 3).frame_count == 3
    for item, original in zip(kept, source.items[::3], strict=True):
        assert item.frame.stamp == original.frame.stamp
        assert (item.labels == original.labels).all()


@pytest.mark.parametrize('stride', [0, -2])
def test_a_stride_below_one_is_refused(source, stride):
    with pytest.raises(UserError, match=f'a stride of {stride} keeps no frame'):
        EveryNth(source, stride)

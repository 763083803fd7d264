"""KITTI-360: stretches of labelled frames, times, the listed splits."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone

import pytest

from vseg_ros.datasets.kitti360 import kitti360_sources
from vseg_ros.errors import UserError
from vseg_ros.labels import CITYSCAPES_TO_DRIVING, DRIVING

SECOND = 1_000_000_000
DRIVE = '2013_05_28_drive_0000_sync'


def test_a_video_a_labelled_stretch(kitti360):
    first, second = kitti360_sources(kitti360)
    assert [first.name, second.name] == [f'{DRIVE}_0000000005', f'{DRIVE}_0000000025']
    assert [item.frame.image[0, 0, 0] for item in first] == [5, 6, 7, 8, 9, 10]
    assert [item.labels is None for item in first] == [False, False, True, False, False, False]
    assert [item.frame.stamp for item in second] == [0, SECOND // 10]
    assert first.label_set is DRIVING


def test_a_second_without_labels_ends_a_stretch(kitti360, ids_writer):
    folder = kitti360 / 'data_2d_semantics/train' / DRIVE / 'image_00/semantic'
    ids_writer(folder / '0000000020.png', [7])
    assert [video.frame_count for video in kitti360_sources(kitti360)] == [22]
    (folder / '0000000010.png').unlink()
    assert [video.frame_count for video in kitti360_sources(kitti360)] == [5, 7]


def test_ids_beyond_cityscapes_have_classes_too(kitti360):
    labels = kitti360_sources(kitti360)[0][0].labels.ravel()[:45].tolist()
    assert labels[:34] == [CITYSCAPES_TO_DRIVING.get(number, 255) for number in range(34)]
    names = [None if label == 255 else DRIVING.names[label] for label in labels[34:]]
    assert names == ['building', 'fence', None, 'pole', *[None] * 7]


def test_times_are_those_of_the_file(kitti360, kitti360_times):
    start = int(datetime(2013, 5, 28, 8, 46, tzinfo=timezone.utc).timestamp()) * SECOND
    second = kitti360_sources(kitti360)[1]
    assert [item.frame.stamp for item in second] == [
        start + 2 * SECOND + 504_475_136, start + 2 * SECOND + 604_475_136]
    lines = kitti360_times.read_text().splitlines()
    lines[25:27] = ['2013-05-28 08:46:02.5', '2013-05-28 08:46:03']
    kitti360_times.write_text('\n'.join(lines))
    second = kitti360_sources(kitti360)[1]
    assert [item.frame.stamp for item in second] == [start + 5 * SECOND // 2, start + 3 * SECOND]


def test_damaged_times_are_named(kitti360, kitti360_times):
    lines = kitti360_times.read_text().splitlines()
    kitti360_times.write_text('\n'.join(lines[:20]))
    with pytest.raises(UserError, match=r'timestamps\.txt has 20 lines and no time of frame 26'):
        kitti360_sources(kitti360)
    for line in ('soon', '2013-13-28 08:46:02.9', '2013-05-28 08:46:02.x'):
        kitti360_times.write_text('\n'.join([*lines[:3], line]))
        with pytest.raises(UserError, match=r'line 4 of .*timestamps\.txt is no time such as'):
            kitti360_sources(kitti360)
    kitti360_times.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='cannot read the times'):
        kitti360_sources(kitti360)


def test_splits_are_the_listed_frames(kitti360):
    train, = kitti360_sources(kitti360, 'train')
    assert [item.labels is None for item in train] == [False, False, True, False]
    val, = kitti360_sources(kitti360, 'val')
    assert val.name == f'{DRIVE}_0000000025'
    with pytest.raises(UserError, match=r'no list .*drive_test_frames\.txt: kitti360 has the spl'):
        kitti360_sources(kitti360, 'test')
    path = kitti360 / 'data_2d_semantics/train/2013_05_28_drive_val_frames.txt'
    path.write_text(path.read_text() + 'somewhere/0000000027.png\n')
    with pytest.raises(UserError, match=r'line 3 of .* does not begin with the path of an image'):
        kitti360_sources(kitti360, 'val')


def test_a_split_needs_all_its_drives(kitti360):
    path = kitti360 / 'data_2d_semantics/train/2013_05_28_drive_val_frames.txt'
    path.write_text(path.read_text().replace('drive_0000', 'drive_0003'))
    with pytest.raises(UserError, match=r'no folder .*drive_0003_sync/image_00/data_rect'):
        kitti360_sources(kitti360, 'val')


def test_what_is_missing_is_named(kitti360, tmp_path):
    with pytest.raises(UserError, match=r'no folder .*none: kitti360 has data_2d_raw/DRIVE'):
        kitti360_sources(tmp_path / 'none')
    image = kitti360 / 'data_2d_raw' / DRIVE / 'image_00/data_rect/0000000008.png'
    image.rename(image.with_name('gone'))
    with pytest.raises(UserError, match=r'semantic/0000000008\.png has no image .*08\.png'):
        kitti360_sources(kitti360)
    shutil.rmtree(kitti360 / 'data_2d_raw' / DRIVE)
    with pytest.raises(UserError, match=r'no image of the data set in .*raw: kitti360 has'):
        kitti360_sources(kitti360)
    shutil.rmtree(kitti360 / 'data_2d_semantics')
    with pytest.raises(UserError, match=r'no folder .*semantics/train: kitti360 has'):
        kitti360_sources(kitti360)


def test_a_damaged_image_is_named(kitti360):
    image = kitti360 / 'data_2d_raw' / DRIVE / 'image_00/data_rect/0000000006.png'
    image.write_bytes(image.read_bytes()[:40])
    video = kitti360_sources(kitti360)[0]
    assert video[0].frame.size == (24, 32)
    with pytest.raises(UserError, match=r'the image .*0000000006\.png is damaged'):
        video[1]

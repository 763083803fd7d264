"""ApolloScape's scene parsing."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.apolloscape import apolloscape_sources
from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING

MILLISECOND = 1_000_000
NAMES = ['road01_ins_Record011_Camera_5', 'road01_ins_Record011_Camera_6',
         'road02_seg_Record022_Camera_5']
# Class ids by the data set's page; a group has its members' id and 128.
CLASSES = {17: 'sky', 33: 'car', 34: 'motorcycle', 36: 'person', 37: 'rider', 38: 'truck_bus',
           39: 'truck_bus', 49: 'road', 50: 'sidewalk', 67: 'fence', 81: 'traffic light',
           82: 'pole', 83: 'traffic sign', 84: 'wall', 97: 'building', 113: 'vegetation'}


def test_a_video_a_record_and_camera_in_order_of_time(apolloscape):
    videos = apolloscape_sources(apolloscape)
    assert [video.name for video in videos] == NAMES
    first = videos[0]
    moment = datetime(2017, 9, 8, 6, 15, 2, tzinfo=timezone.utc)
    start = int(moment.timestamp()) * 1000 * MILLISECOND
    assert [item.frame.stamp for item in first] == [start + 408 * MILLISECOND,
                                                    start + 547 * MILLISECOND]
    assert [round(float(item.frame.image.mean())) for item in first] == [20, 0]
    assert [len(video) for video in videos] == [2, 1, 1]
    assert first.label_set is DRIVING


def test_class_ids_become_driving_classes(apolloscape):
    path = next((apolloscape / 'road01_ins/Label/Record011/Camera 5').glob('*_bin.png'))
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ravel()
    labels = apolloscape_sources(apolloscape)[0][0].labels.ravel()
    assert len(np.unique(ids)) == 36
    for number, label in zip(ids.tolist(), labels.tolist(), strict=True):
        member = number - 128 if 161 <= number <= 168 else number
        assert label == (DRIVING.names.index(CLASSES[member]) if member in CLASSES else 255)


def test_one_road_or_the_types_above_the_roads(apolloscape):
    assert [video.name for video in apolloscape_sources(apolloscape / 'road01_ins')] == NAMES[:2]
    for kind in ('ColorImage', 'Label'):
        for road in ('road01_ins', 'road02_seg'):
            (apolloscape / kind).mkdir(exist_ok=True)
            (apolloscape / road / kind).rename(apolloscape / kind / road)
    videos = apolloscape_sources(apolloscape)
    assert [video.name for video in videos] == NAMES
    assert all(item.labels is not None for video in videos for item in video)


def test_splits_are_the_image_lists(apolloscape):
    train, = apolloscape_sources(apolloscape, 'train')
    assert (train.name, len(train)) == (NAMES[0], 1)
    (apolloscape / 'public_image_lists').mkdir()
    path = apolloscape / 'road01_ins_val.lst'
    path.rename(apolloscape / 'public_image_lists' / path.name)
    val, = apolloscape_sources(apolloscape, 'val')
    assert val[0].frame.stamp - train[0].frame.stamp == 139 * MILLISECOND
    with pytest.raises(UserError, match=r'no list \*_test\.lst in .*: apolloscape has the splits'):
        apolloscape_sources(apolloscape, 'test')


def test_what_is_missing_is_named(apolloscape, tmp_path):
    with pytest.raises(UserError, match=r'no folder .*none: apolloscape has ROAD/ColorImage'):
        apolloscape_sources(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'no image of the data set in .*empty: apolloscape has'):
        apolloscape_sources(tmp_path / 'empty')
    for road in ('road01_ins', 'road02_seg'):
        shutil.rmtree(apolloscape / road / 'Label')
    with pytest.raises(UserError, match=r'no image in .* has labels: apolloscape has'):
        apolloscape_sources(apolloscape)


def test_wrong_names_and_damage_are_named(apolloscape, image_writer):
    label = next((apolloscape / 'road02_seg').rglob('*_bin.png'))
    label.write_bytes(b'')
    with pytest.raises(UserError, match=r'label image .*Camera_5_bin\.png is damaged'):
        apolloscape_sources(apolloscape)[2][0]
    for name in ('first', '171308_061502408_Camera_5'):
        path = image_writer(apolloscape / f'road02_seg/ColorImage/Record022/Camera 5/{name}.jpg')
        with pytest.raises(UserError, match=f'{name}\\.jpg is not named yymmdd_HHMMSSmmm'):
            apolloscape_sources(apolloscape)
        path.unlink()

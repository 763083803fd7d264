"""Cityscapes with its sequences and without."""

from __future__ import annotations

import shutil

import pytest

from vseg_ros.datasets.cityscapes import cityscapes_sources
from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING

SECOND = 1_000_000_000
NAMES = ['frankfurt_000000_000275', 'frankfurt_000000_000557', 'lindau_000007_000000']
# labelIds by name, as the data set defines them.
LABEL_IDS = {'road': 7, 'sidewalk': 8, 'building': 11, 'wall': 12, 'fence': 13, 'pole': 17,
             'traffic light': 19, 'traffic sign': 20, 'vegetation': 21, 'sky': 23, 'person': 24,
             'rider': 25, 'car': 26, 'motorcycle': 32}
TRAIN_IDS = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light',
             'traffic sign', 'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck',
             'bus', 'train', 'motorcycle', 'bicycle')


def test_a_video_a_snippet_with_its_one_label(cityscapes):
    videos = cityscapes_sources(cityscapes)
    assert [video.name for video in videos] == NAMES
    for video in videos:
        assert len(video) == video.frame_count == 30
        assert [i for i, item in enumerate(video) if item.labels is not None] == [19]
        assert [item.frame.image[0, 0, 0] for item in video] == list(range(30))
        assert [video[i].frame.stamp for i in (0, 1, 17)] == [0, round(SECOND / 17), SECOND]
        assert video.label_set is DRIVING


def test_label_ids_become_driving_classes(cityscapes):
    labels = cityscapes_sources(cityscapes)[0][19].labels.ravel()[:34]
    expected = [255] * 34
    for name, number in LABEL_IDS.items():
        expected[number] = DRIVING.names.index(name)
    expected[27] = expected[28] = DRIVING.names.index('truck_bus')
    assert labels.tolist() == expected


def test_train_ids_where_there_are_no_others(cityscapes, ids_writer):
    folder = cityscapes / 'gtFine/val/lindau'
    for path in folder.iterdir():
        path.unlink()
    ids_writer(folder / 'lindau_000007_000019_gtFine_labelTrainIds.png', [*range(19), 255])
    labels = cityscapes_sources(cityscapes)[2][19].labels.ravel()[:20]
    aligned = {'truck': 'truck_bus', 'bus': 'truck_bus'}
    expected = [aligned.get(name, name) for name in TRAIN_IDS]
    assert labels.tolist() == [DRIVING.names.index(name) if name in DRIVING.names else 255
                               for name in expected] + [255]


def test_without_sequences_each_image_is_a_video(tmp_path, cityscapes_writer):
    videos = cityscapes_sources(cityscapes_writer(tmp_path / 'c', sequences=False))
    assert [video.name for video in videos] == [
        'frankfurt_000000_000294', 'frankfurt_000000_000576', 'lindau_000007_000019']
    assert [(len(video), video[0].frame.stamp) for video in videos] == [(1, 0)] * 3
    assert all(video[0].labels is not None for video in videos)


def test_splits_are_named_unless_there_is_one(cityscapes, cityscapes_writer):
    assert len(cityscapes_sources(cityscapes, 'val')) == 3
    with pytest.raises(UserError, match='has no split train, only val: cityscapes has leftImg8'):
        cityscapes_sources(cityscapes, 'train')
    cityscapes_writer(cityscapes, 'train', sequences=False)
    with pytest.raises(UserError, match='has the splits train, val: name one'):
        cityscapes_sources(cityscapes)
    assert [len(video) for video in cityscapes_sources(cityscapes, 'train')] == [1] * 3
    assert [len(video) for video in cityscapes_sources(cityscapes, 'val')] == [30] * 3


def test_a_lost_frame_cuts_the_video(cityscapes):
    (cityscapes / 'leftImg8bit_sequence/val/lindau/lindau_000007_000010_leftImg8bit.png').unlink()
    assert [(video.name, len(video)) for video in cityscapes_sources(cityscapes)[2:]] == [
        ('lindau_000007_000000', 10), ('lindau_000007_000011', 19)]


def test_snippets_that_touch_are_two_videos(tmp_path, image_writer, ids_writer):
    for frame in range(100, 160):
        name = f'zurich_000003_{frame:06}'
        image_writer(tmp_path / f'leftImg8bit_sequence/val/zurich/{name}_leftImg8bit.png')
        if frame in (119, 149):
            ids_writer(tmp_path / f'gtFine/val/zurich/{name}_gtFine_labelIds.png', [7])
    videos = cityscapes_sources(tmp_path)
    assert [(video.name, len(video)) for video in videos] == [
        ('zurich_000003_000100', 30), ('zurich_000003_000130', 30)]
    assert [[i for i in range(30) if video[i].labels is not None] for video in videos] == [
        [19]] * 2
    assert videos[1][0].frame.stamp == 0


def test_what_is_missing_is_named(cityscapes, tmp_path):
    with pytest.raises(UserError, match=r'no folder .*none: cityscapes has'):
        cityscapes_sources(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'no split in .*empty: cityscapes has'):
        cityscapes_sources(tmp_path / 'empty')
    for city in ('frankfurt', 'lindau'):
        shutil.rmtree(cityscapes / 'gtFine/val' / city)
    with pytest.raises(UserError, match=r'no image in .*val has labels: cityscapes has'):
        cityscapes_sources(cityscapes)
    shutil.rmtree(cityscapes / 'gtFine')
    with pytest.raises(UserError, match=r'no folder .*gtFine/val: cityscapes has'):
        cityscapes_sources(cityscapes)


def test_wrong_names_and_damage_are_named(cityscapes, image_writer):
    label = cityscapes / 'gtFine/val/lindau/lindau_000007_000019_gtFine_labelIds.png'
    label.write_bytes(label.read_bytes()[:50])
    video = cityscapes_sources(cityscapes)[2]
    assert video[18].labels is None
    with pytest.raises(UserError, match=r'label image .*000019_gtFine_labelIds\.png is damaged'):
        video[19]
    image_writer(cityscapes / 'leftImg8bit_sequence/val/lindau/lindau_x_leftImg8bit.png')
    with pytest.raises(UserError, match=r'lindau_x_leftImg8bit\.png is not named CITY_SEQUENCE_'):
        cityscapes_sources(cityscapes)

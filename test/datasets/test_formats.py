"""One way in for every data set, and what all of them promise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.class_maps import CLASS_MAPS, find_class_map
from vseg_ros.class_names import ADE20K, CITYSCAPES, VSPW
from vseg_ros.datasets import layout
from vseg_ros.datasets.formats import DATASET_FORMATS, open_dataset
from vseg_ros.errors import UserError
from vseg_ros.io import image_folder
from vseg_ros.labels import DRIVING


@pytest.fixture
def camvid11(tmp_path, image_writer, ids_writer):
    for frame in (30, 60):
        image_writer(tmp_path / f'camvid11/images/0006R0_f000{frame}.png')
        ids_writer(tmp_path / f'camvid11/labels/0006R0_f000{frame}.png', list(range(12)))
    return tmp_path / 'camvid11'


@pytest.mark.parametrize('name', DATASET_FORMATS)
def test_every_format_opens_and_reads_lazily(name, request, monkeypatch):
    folder = request.getfixturevalue(name)
    opened: list[Path] = []
    read = image_folder._read
    monkeypatch.setattr(image_folder, '_read',
                        lambda path, flags: (opened.append(path), read(path, flags))[1])
    videos = open_dataset(folder, name, 'val' if name == 'vspw' else None)
    assert not opened
    label_set = {'vspw': VSPW, 'ade20k': ADE20K}.get(name, DRIVING)
    for video in videos:
        assert video.label_set is label_set
        items = list(video)
        assert len(items) == len(video) == video.frame_count
        assert np.all(np.diff([item.frame.stamp for item in items]) > 0)
        again = video[len(video) - 1]
        assert again.frame.stamp == items[-1].frame.stamp
        assert (again.labels is None) == (items[-1].labels is None)
        for item in items:
            if item.labels is not None:
                assert item.labels.shape == item.frame.size
                assert set(np.unique(item.labels)) <= {*range(len(label_set)), 255}
    assert len({video.name for video in videos}) == len(videos)
    first = videos[0]
    opened.clear()
    next(iter(first))
    assert 1 <= len(opened) <= 2


@pytest.mark.parametrize('name', ['cityscapes', 'kitti360', 'apolloscape'])
def test_labels_of_another_size_name_both_files(name, request):
    folder = request.getfixturevalue(name)
    video = next(video for video in open_dataset(folder, name))
    index = next(i for i, path in enumerate(video._labels) if path is not None)
    cv2.imwrite(str(video._labels[index]), np.zeros((12, 16), np.uint8))
    with pytest.raises(UserError, match=r'is 16x12, its image .* is 32x24'):
        video[index]


def test_unknown_formats_and_splits_of_camvid11_are_refused(camvid11):
    with pytest.raises(UserError, match="no data set format 'imagenet': choose one of camvid, ca"):
        open_dataset(camvid11, 'imagenet')
    with pytest.raises(UserError, match=r'camvid11 has a folder for each split: give .*/val with'):
        open_dataset(camvid11, 'camvid11', 'val')


@pytest.mark.parametrize(('name', 'classes'), [
    ('cityscapes', 'vspw-cityscapes'), ('kitti360', 'vspw-cityscapes'), ('vspw', 'ade20k-vspw'),
    ('camvid', 'vspw-driving'), ('camvid11', 'cityscapes-driving'), ('ade20k', 'ade20k'),
    ('apolloscape', 'ade20k-driving'), ('cityscapes', 'cityscapes')])
def test_labels_come_in_the_target_classes(name, classes, request):
    folder = request.getfixturevalue(name)
    split = 'val' if name == 'vspw' else None
    class_map = find_class_map(classes)
    unchanged = class_map.truth if class_map.truth in CLASS_MAPS else ''
    plain = open_dataset(folder, name, split, unchanged)[0]
    video = open_dataset(folder, name, split, classes)[0]
    assert video.label_set == class_map.target
    assert (video.name, video.path, len(video), video.frame_count) == (
        plain.name, plain.path, len(plain), plain.frame_count)
    of = {truth: target for target, truths in class_map.truth_of.items() for truth in truths}
    seen = 0
    for index, (item, before) in enumerate(zip(video, plain, strict=True)):
        assert (item.labels is None) == (before.labels is None)
        if item.labels is None:
            continue
        np.testing.assert_array_equal(video[index].labels, item.labels)
        for found, own in zip(item.labels.flat, before.labels.flat, strict=True):
            target = None if own == 255 else of.get(plain.label_set.names[own])
            expected = 255 if target is None else class_map.target.names.index(target)
            assert found == expected
            seen += expected != 255
    assert seen


def test_cityscapes_in_its_own_19_classes(cityscapes, kitti360, ids_writer):
    label_ids = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
                 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    video = open_dataset(cityscapes, 'cityscapes', classes='cityscapes')[0]
    assert video.label_set == CITYSCAPES
    assert video[19].labels.flat[:34].tolist() == [label_ids.get(i, 255) for i in range(34)]
    ids_writer(cityscapes / 'gtFine/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png', [0])
    for path in (cityscapes / 'gtFine/val/lindau').iterdir():
        path.unlink()
    ids_writer(cityscapes / 'gtFine/val/lindau/lindau_000007_000019_gtFine_labelTrainIds.png',
               [*range(19), 255])
    video = open_dataset(cityscapes, 'cityscapes', classes='cityscapes')[2]
    assert video[19].labels.flat[:20].tolist() == [*range(19), 255]
    items = [item.labels for item in open_dataset(kitti360, 'kitti360', classes='cityscapes')[0]]
    # a garage is a building, a gate a fence, a small pole a pole
    assert items[0].flat[34:38].tolist() == [2, 4, 255, 5]


def test_class_maps_of_other_labels_are_refused(camvid11, vspw):
    with pytest.raises(UserError, match="'vspw-cityscapes' scores labels in the classes of "
                                        'cityscapes, and those of camvid11 come as driving'):
        open_dataset(camvid11, 'camvid11', classes='vspw-cityscapes')
    with pytest.raises(UserError, match=r"'vspw-driving' scores .* those of vspw come as vspw"):
        open_dataset(vspw, 'vspw', classes='vspw-driving')
    with pytest.raises(UserError, match="no class map 'cities': choose one of vspw-cityscapes"):
        open_dataset(vspw, 'vspw', classes='cities')


def test_runs_are_cut_where_a_step_is_too_long():
    assert layout.consecutive_runs([]) == []
    assert layout.consecutive_runs([3, 4, 6, 7, 10]) == [[3, 4], [6, 7], [10]]
    assert layout.consecutive_runs([3, 4, 6, 7, 10], 2) == [[3, 4, 6, 7], [10]]


def test_hidden_files_are_no_images(cityscapes):
    city = cityscapes / 'leftImg8bit_sequence/val/lindau'
    (city / '._lindau_000007_000000_leftImg8bit.png').write_bytes(b'x')
    (cityscapes / 'leftImg8bit_sequence/.cache').mkdir()
    assert [len(video) for video in open_dataset(cityscapes, 'cityscapes')] == [30] * 3

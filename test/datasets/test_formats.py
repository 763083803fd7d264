"""One way in for every data set, and what all of them promise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

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
    videos = open_dataset(folder, name)
    assert not opened
    for video in videos:
        assert video.label_set is DRIVING
        items = list(video)
        assert len(items) == len(video) == video.frame_count
        assert np.all(np.diff([item.frame.stamp for item in items]) > 0)
        again = video[len(video) - 1]
        assert again.frame.stamp == items[-1].frame.stamp
        assert (again.labels is None) == (items[-1].labels is None)
        for item in items:
            if item.labels is not None:
                assert item.labels.shape == item.frame.size
                assert set(np.unique(item.labels)) <= {*range(15), 255}
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


def test_runs_are_cut_where_a_step_is_too_long():
    assert layout.consecutive_runs([]) == []
    assert layout.consecutive_runs([3, 4, 6, 7, 10]) == [[3, 4], [6, 7], [10]]
    assert layout.consecutive_runs([3, 4, 6, 7, 10], 2) == [[3, 4, 6, 7], [10]]


def test_hidden_files_are_no_images(cityscapes):
    city = cityscapes / 'leftImg8bit_sequence/val/lindau'
    (city / '._lindau_000007_000000_leftImg8bit.png').write_bytes(b'x')
    (cityscapes / 'leftImg8bit_sequence/.cache').mkdir()
    assert [len(video) for video in open_dataset(cityscapes, 'cityscapes')] == [30] * 3

"""ADE20K: single images, labels minus one."""

from __future__ import annotations

import shutil

import pytest

from vseg_ros.class_names import ADE20K
from vseg_ros.datasets.ade20k import ade20k_sources
from vseg_ros.errors import UserError


def test_every_image_is_a_video_of_one_frame(ade20k):
    videos = ade20k_sources(ade20k)
    assert [(video.name, len(video)) for video in videos] == [
        ('ADE_val_00000001', 1), ('ADE_val_00000002', 1)]
    assert videos[0].label_set is ADE20K
    assert videos[1][0].labels.flat[:151].tolist() == [255, *range(150)]
    assert [video[0].labels is None for video in ade20k_sources(ade20k, 'train')] == [False, True]


def test_what_is_missing_is_named(ade20k, tmp_path):
    with pytest.raises(UserError, match='ade20k has no split test, only train, val'):
        ade20k_sources(ade20k, 'test')
    shutil.rmtree(ade20k / 'annotations')
    with pytest.raises(UserError, match=r'no folder .*annotations/validation: ade20k has images/'):
        ade20k_sources(ade20k)
    with pytest.raises(UserError, match=r'no folder .*none: ade20k has'):
        ade20k_sources(tmp_path / 'none')

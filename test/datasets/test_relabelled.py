"""Sources of any kind, labelled in the target classes of a class map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.class_maps import find_class_map
from vseg_ros.datasets.relabelled import RelabelledSource
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import DRIVING, LabelSet


def test_what_vspw_does_not_know_is_left_out(tmp_path, image_writer, ids_writer):
    for index in range(3):
        image_writer(tmp_path / f'images/{index}.png', index)
        ids_writer(tmp_path / f'labels/{index}.png', [*range(15), 255])
    folder = ImageFolder(tmp_path / 'images', tmp_path / 'labels', label_set=DRIVING)
    source = RelabelledSource(folder, find_class_map('vspw-driving'))
    assert (source.name, source.path, source.frame_count) == ('images', folder.path, 3)
    assert source.label_set == DRIVING
    sign, rider, person = (DRIVING.names.index(name)
                           for name in ('traffic sign', 'rider', 'person'))
    for item, before in zip(source, folder, strict=True):
        assert {sign, rider, person} < set(before.labels.flat)
        expected = before.labels.copy()
        expected[before.labels == sign] = 255
        expected[before.labels == rider] = person
        np.testing.assert_array_equal(item.labels, expected)
        np.testing.assert_array_equal(item.frame.image, before.frame.image)


def test_no_labels_stay_none(tmp_path, image_writer):
    image_writer(tmp_path / 'a.png')
    source = RelabelledSource(ImageFolder(tmp_path), find_class_map('vspw-driving'))
    assert source.label_set is None
    assert [item.labels for item in source] == [None]


def test_labels_in_other_classes_are_refused(tmp_path, image_writer, ids_writer):
    image_writer(tmp_path / 'images/a.png')
    ids_writer(tmp_path / 'labels/a.png', [0, 1])
    folder = ImageFolder(tmp_path / 'images', tmp_path / 'labels',
                         label_set=LabelSet.from_names(('rock', 'sand')))
    with pytest.raises(UserError, match=r"images is labelled with 2 classes \(rock, sand, …\), "
                                        r"which classes 'vspw-driving' does not know: it scores "
                                        r'labels in the 15 of driving'):
        RelabelledSource(folder, find_class_map('vspw-driving'))


def test_labels_of_16_bits_are_refused(tmp_path, image_writer):
    image_writer(tmp_path / 'images/a.png')
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels/a.png'), np.zeros((24, 32), np.uint16))
    folder = ImageFolder(tmp_path / 'images', tmp_path / 'labels')
    with pytest.raises(UserError, match='the labels of images have 16 bits a pixel'):
        list(RelabelledSource(folder, find_class_map('vspw-driving')))

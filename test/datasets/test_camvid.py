"""CamVid as it is published, in colours or ids."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.camvid import camvid_sources
from vseg_ros.errors import UserError
from vseg_ros.labels import CAMVID32_NAMES, DRIVING

SECOND = 1_000_000_000
# Driving classes of the 32, in their order.
EXPECTED = {'Bicyclist': 'rider', 'Building': 'building', 'Car': 'car', 'Column_Pole': 'pole',
            'Fence': 'fence', 'MotorcycleScooter': 'motorcycle', 'Pedestrian': 'person',
            'Road': 'road', 'Sidewalk': 'sidewalk', 'SignSymbol': 'traffic sign', 'Sky': 'sky',
            'TrafficLight': 'traffic light', 'Tree': 'vegetation', 'Truck_Bus': 'truck_bus',
            'VegetationMisc': 'vegetation', 'Wall': 'wall'}


def expected_labels() -> list[int]:
    return [DRIVING.names.index(EXPECTED[name]) if name in EXPECTED else 255
            for name in CAMVID32_NAMES]


def test_a_video_a_sequence_with_the_times_of_the_names(camvid):
    dusk, day = camvid_sources(camvid)
    assert [dusk.name, day.name] == ['0001TP', '0016E5']
    assert [item.frame.stamp for item in dusk] == [0, SECOND]
    assert [item.frame.stamp for item in day] == [0, round(SECOND / 15), round(SECOND * 42 / 30)]
    assert [item.frame.image[0, 0, 0] for item in day] == [2, 3, 4]
    assert [item.labels is None for item in day] == [False, False, True]
    assert day.label_set is DRIVING


def test_colours_become_driving_classes(camvid):
    labels = camvid_sources(camvid)[0][0].labels
    assert labels.dtype == np.uint8
    assert labels[0].tolist() == expected_labels()


def test_indexed_labels_in_either_layout(camvid, ids_writer):
    ids_writer(camvid / 'LabeledApproved_full/0001TP_006690_L.png', list(range(32)))
    assert camvid_sources(camvid)[0][0].labels[0].tolist() == expected_labels()
    (camvid / '701_StillsRaw_full').rename(camvid / 'images')
    shutil.rmtree(camvid / 'LabeledApproved_full')
    ids_writer(camvid / 'labels/0001TP_006720_P.png', list(range(32)))
    first, last = camvid_sources(camvid)[0]
    assert first.labels is None
    assert last.labels[0].tolist() == expected_labels()


def test_a_list_of_names_is_a_split(camvid):
    (camvid / 'val.txt').write_text('0016E5_07961.png\n\n/x/0001TP_006690.png /x/labels.png\n')
    assert [(video.name, len(video)) for video in camvid_sources(camvid, 'val')] == [
        ('0001TP', 1), ('0016E5', 1)]
    with pytest.raises(UserError, match=r'no list .*train\.txt: CamVid is published without'):
        camvid_sources(camvid, 'train')


def test_what_is_missing_is_named(camvid, tmp_path):
    with pytest.raises(UserError, match=r'no folder .*none: camvid has 701_StillsRaw_full/NAME'):
        camvid_sources(tmp_path / 'none')
    with pytest.raises(UserError, match=r'no folder .*701_StillsRaw_full: camvid has'):
        camvid_sources(tmp_path)
    shutil.rmtree(camvid / 'LabeledApproved_full')
    with pytest.raises(UserError, match=r'no folder .*LabeledApproved_full: camvid has'):
        camvid_sources(camvid)
    (camvid / 'LabeledApproved_full').mkdir()
    with pytest.raises(UserError, match=r'no image in .* has labels: camvid has'):
        camvid_sources(camvid)


def test_other_names_are_no_camvid(camvid, image_writer):
    image_writer(camvid / '701_StillsRaw_full/0001TP-first.png')
    with pytest.raises(UserError, match=r'0001TP-first\.png is not named SEQUENCE_FRAME'):
        camvid_sources(camvid)


def test_damaged_labels_are_named(camvid, image_writer, ids_writer):
    label = camvid / 'LabeledApproved_full/0001TP_006690_L.png'
    whole = label.read_bytes()
    for content in (b'', b'no image', whole[:40]):
        label.write_bytes(content)
        with pytest.raises(UserError, match=r'image .*006690_L\.png is damaged'):
            camvid_sources(camvid)[0][0]
    image_writer(label, 77)
    with pytest.raises(UserError, match=r"006690_L\.png has none of CamVid's 32 colours"):
        camvid_sources(camvid)[0][0]
    videos = camvid_sources(camvid)
    label.unlink()
    with pytest.raises(UserError, match=r'cannot read .*006690_L\.png'):
        videos[0][0]


def test_painted_labels_of_another_size_name_both_files(camvid):
    still = camvid / '701_StillsRaw_full/0001TP_006690.png'
    cv2.imwrite(str(still), np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r'006690_L\.png is 32x24, its image .*png is 16x12'):
        camvid_sources(camvid)[0][0]

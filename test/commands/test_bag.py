"""`vseg bag`: which camera and which labels of its source it writes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.commands.bag import bag
from vseg_ros.errors import UserError
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import image_message
from vseg_ros.io.source import open_source


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    """A bag of two cameras with labels each."""
    path = tmp_path / 'in.mcap'
    with BagWriter(path) as writer:
        for value, side in enumerate(('left', 'right'), 1):
            picture = np.full((8, 8, 3), 50 * value, np.uint8)
            writer.write(f'/{side}/image', image_message(picture, 'rgb8', 1, ''), 1)
            labels = np.full((8, 8), value, np.uint8)
            writer.write(f'/{side}/labels', image_message(labels, 'mono8', 1, ''), 1)
    return path


@pytest.mark.parametrize(('topic', 'labels', 'pixel', 'label'), [
    ('/left/image', None, 50, 1), ('/right/image', None, 100, 2),
    ('/right/image', '/left/labels', 100, 1)])
def test_camera_and_labels_of_a_bag_are_chosen(two_cameras: Path, tmp_path: Path, topic: str,
                                               labels: str | None, pixel: int,
                                               label: int) -> None:
    with pytest.raises(UserError, match='with --topic'):
        bag(str(two_cameras), tmp_path / 'out.mcap')
    bag(str(two_cameras), tmp_path / 'out.mcap', labels, encoding='rgb8', topic=topic)
    item, = open_source(tmp_path / 'out.mcap')
    assert item.labels is not None
    assert (item.frame.image[0, 0, 0], item.labels[0, 0]) == (pixel, label)


def test_labels_of_images_are_a_folder(tmp_path: Path) -> None:
    for name, picture in (('images', np.zeros((8, 8, 3), np.uint8)),
                          ('ids', np.full((8, 8), 3, np.uint8))):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '1.png'), picture)
    bag(str(tmp_path / 'images'), tmp_path / 'out.mcap', str(tmp_path / 'ids'))
    item, = open_source(tmp_path / 'out.mcap')
    assert item.labels is not None
    assert item.labels[0, 0] == 3

"""Sources by the name of their format: files, the street and data sets through one function."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.commands.sources import open_videos
from vseg_ros.errors import UserError

ROAD = 7
"""Cityscapes' own id of the road."""


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """One labelled image in the layout of Cityscapes."""
    for folder, name, pixels in (
            ('leftImg8bit', 'leftImg8bit', np.full((24, 32, 3), 90, np.uint8)),
            ('gtFine', 'gtFine_labelIds', np.full((24, 32), ROAD, np.uint8))):
        place = tmp_path / folder / 'val' / 'ulm'
        place.mkdir(parents=True)
        cv2.imwrite(str(place / f'ulm_000003_000019_{name}.png'), pixels)
    return tmp_path


def test_data_set_is_opened_by_its_format(cityscapes: Path) -> None:
    videos = open_videos(str(cityscapes), 'cityscapes', split='val')
    items = [item for video in videos for item in video]
    assert len(items) == 1
    assert items[0].labels is not None
    assert (items[0].labels == 0).all(), 'road is driving class 0'


def test_street_is_opened_as_ever() -> None:
    assert open_videos('street:3:5')[0].frame_count == 5


@pytest.mark.parametrize(('format', 'options', 'named'), [
    ('cityscapes', {'topic': '/image'}, '--topic'),
    ('cityscapes', {'labels': 'x'}, '--labels'),
    ('street', {'split': 'val'}, '--split'),
    ('camvid11', {'split': 'val'}, '--split'),
])
def test_option_that_does_not_apply_is_refused(cityscapes: Path, format: str,
                                               options: dict[str, str], named: str) -> None:
    with pytest.raises(UserError, match=f'{named} .*leave it away'):
        open_videos(str(cityscapes), format, **options)  # type: ignore[arg-type]

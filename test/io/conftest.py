"""What the tests of bags, videos and folders share: frames, bags on disk, and the real data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vseg_ros.frame import Frame
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import DRIVING

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


class ListSource:
    """A source of given frames, by default eight small ones at 10 Hz with labels."""

    def __init__(self, items: list[LabelledFrame], label_set: Any = DRIVING) -> None:
        self.items, self.label_set = items, label_set
        self.name, self.path, self.frame_count = 'list', None, len(items)

    def __iter__(self) -> Any:
        return iter(self.items)


def make_frames(count: int = 8, height: int = 24, width: int = 32,
                start: int = START) -> list[LabelledFrame]:
    """Smooth pictures, so that JPEG keeps them, with a label map that moves."""
    rows, columns = np.mgrid[:height, :width]
    items = []
    for index in range(count):
        image = np.stack([rows * 8 % 256, columns * 6 % 256, np.full_like(rows, index * 20)], -1)
        labels = ((columns + index) // 8 % len(DRIVING)).astype(np.uint8)
        frame = Frame(image.astype(np.uint8), start + index * SECOND // 10, 'front_camera')
        items.append(LabelledFrame(frame, labels))
    return items


@pytest.fixture
def frames() -> Callable[..., list[LabelledFrame]]:
    return make_frames


@pytest.fixture
def source() -> ListSource:
    return ListSource(make_frames())


@pytest.fixture
def list_source() -> type[ListSource]:
    return ListSource


@pytest.fixture
def write_bag() -> Callable[..., Path]:
    """Write (topic, message, log time) triples as a bag."""
    def write(path: Path, messages: list[tuple[str, Any, int]]) -> Path:
        with BagWriter(path) as bag:
            for topic, message, log_time in messages:
                bag.write(topic, message, log_time)
        return path
    return write


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three images named so that only a natural sort has them in order, and labels for two."""
    folder = tmp_path / 'folder'
    (folder / 'images').mkdir(parents=True)
    (folder / 'labels').mkdir()
    for index, name in enumerate(('f1', 'f2', 'f10')):
        image = np.full((20, 30, 3), index * 40, np.uint8)
        cv2.imwrite(str(folder / 'images' / f'{name}.png'), image)
        if name != 'f2':
            cv2.imwrite(str(folder / 'labels' / f'{name}.png'), np.full((20, 30), index, np.uint8))
    return folder


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The real clips, which are not part of the project."""
    default = Path(__file__).parents[3] / 'shared' / 'data'
    folder = Path(os.environ.get('VSEG_DATA', default))
    if not folder.is_dir():
        pytest.skip(f'no real data at {folder}: set VSEG_DATA to run this test')
    return folder

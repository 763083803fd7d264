"""`vseg replay`: which messages of a bag it needs, and a warm-up given as a share of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vseg_ros.commands.replay import replay, resolve_warmup
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import image_message
from vseg_ros.io.source import open_source
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings
from vseg_ros.settings_reading import settings_from_values


@pytest.mark.parametrize('name', ['ditta', 'tent', 'cotta', 'auxadapt'])
def test_a_share_of_the_bag_becomes_frames(name: str) -> None:
    settings = settings_from_values(PIPELINE_SETTINGS[name], {'warmup.ratio': 0.25})
    resolved = resolve_warmup(settings, open_source('street:1:9'))
    assert type(resolved) is type(settings)
    assert resolved.warmup.frames == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize('settings', [PIPELINE_SETTINGS['iss'](), PIPELINE_SETTINGS['refine'](),
                                      DittaSettings()])
def test_without_a_share_nothing_changes(settings: DittaSettings) -> None:
    assert resolve_warmup(settings, open_source('street:1:9')) is settings


def outputs(path: Path, topic: str) -> list[int]:
    """Return the receive times of the messages on a topic."""
    with BagFile(path) as bag:
        return [message.log_time for message in bag.messages((topic,))]


def test_label_images_are_carried_over_unread(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'in.mcap') as bag:
        picture = image_message(np.full((32, 48, 3), 90, np.uint8), 'rgb8', 7, 'lens')
        for topic in ('/camera/image', '/left/labels', '/right/labels'):
            bag.write(topic, picture, 9)
    replay(str(tmp_path / 'in.mcap'), 'iss', tmp_path / 'out.mcap', param=['input_size=32'])
    for topic in ('/vseg/iss/segmentation', '/left/labels', '/right/labels'):
        assert outputs(tmp_path / 'out.mcap', topic) == [9]

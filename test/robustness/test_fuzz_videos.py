"""Video files whose bytes are wrong: read, as far as they go, or refused in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.io.source import open_source
from vseg_ros.io.video import VideoWriter

FILES = settings.get_profile('files')
Damaged = Callable[[st.DataObject, bytes], bytes]
Refusal = Callable[[Callable[[], object]], str]


@pytest.fixture(scope='module')
def video(drive: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole video of six frames."""
    path = tmp_path_factory.mktemp('video') / 'a.mp4'
    with VideoWriter(path) as writer:
        for item in drive:
            writer.write(item.frame.image, item.frame.stamp)
    return path.read_bytes()


@FILES
@given(data=st.data())
def test_damaged_file(video: bytes, tmp_path: Path, refusal: Refusal, damaged: Damaged,
                      data: st.DataObject) -> None:
    path = tmp_path / 'damaged.mp4'
    path.write_bytes(damaged(data, video))
    frames: list[Any] = []
    message = refusal(lambda: frames.extend(itertools.islice(open_source(path), 1000)))
    assert not message or str(path) in message
    assert len(frames) < 1000
    stamps = [item.frame.stamp for item in frames]
    assert stamps == sorted(set(stamps))

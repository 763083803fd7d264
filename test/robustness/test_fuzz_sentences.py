"""Sentences of any kind: asked, or refused in one line; the next one is answered as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vseg_ros.settings import VirstSettings
from vseg_ros.settings_reading import settings_from_values
from vseg_ros.virst.query import VirstQuery

SLOW = settings.get_profile('slow files')
Refusal = Callable[[Callable[[], object]], str]


@pytest.fixture(scope='module')
def query(tiny_virst: Path) -> VirstQuery:
    """A small model that has been loaded."""
    return VirstQuery(settings_from_values(VirstSettings, {
        'weights': str(tiny_virst), 'device': 'cpu'}))


@SLOW
@given(text=st.text(max_size=200))
@example('')
@example(' \t\r\n\u2028\u00a0')
@example('a' * 100_000)
@example('the car ' * 124)
@example('\ud800 car')
@example('\x00\x1b[2J‮ the car')
@example('🚗' * 500)
def test_any_sentence(query: VirstQuery, drive: Any, refusal: Refusal, text: str) -> None:
    frames = [item.frame for item in drive][:3]
    before = query.ask(frames, 'the red car')
    tracks: list[Any] = []
    message = refusal(lambda: tracks.append(query.ask(frames, text)))
    if message:
        assert len(message) < 300, 'the sentence itself is not repeated'
    else:
        assert tracks[0].masks.shape == (len(frames), *frames[0].size)
        assert '\n' not in tracks[0].text
    after = query.ask(frames, 'the red car')
    assert np.array_equal(before.masks, after.masks)
    assert (before.score, before.text) == (after.score, after.text)

"""A score as a file: every number comes back, damage is found."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.evaluation.protocol import score_video
from vseg_ros.evaluation.video_score_file import DamagedScoreError, pack_score, unpack_score


@pytest.fixture
def score(small_video, seeing_pipeline):
    pipeline = seeing_pipeline(4)
    pipeline.history = [{'total': 0.1, 'contrast': float('nan')}]
    return score_video('iss', pipeline, small_video(30), 3, samples=(5, 29))


def test_comes_back_to_the_bit(score):
    read = unpack_score(pack_score(score))
    for name in ('confusion', 'flicker', 'still_flicker', 'seconds', 'timeline'):
        written, back = getattr(score, name), getattr(read, name)
        assert back.dtype == written.dtype
        np.testing.assert_array_equal(back, written)
    assert read.windows.totals == score.windows.totals
    for name in ('span', 'label_set', 'truth', 'form', 'message'):
        assert getattr(read, name) == getattr(score, name)
    assert read.history[0]['total'] == 0.1
    assert np.isnan(read.history[0]['contrast'])
    assert [sample.index for sample in read.samples] == [5, 29]
    for back, written in zip(read.samples, score.samples, strict=True):
        for name in ('image', 'labels', 'prediction', 'changed'):
            np.testing.assert_array_equal(getattr(back, name), getattr(written, name))


def test_without_labels(small_video, seeing_pipeline):
    video = small_video(9, labelled=False)
    video.label_set = None
    read = unpack_score(pack_score(score_video('iss', seeing_pipeline(), video, 1, samples=(2,))))
    assert (read.truth, read.form, read.samples[0].labels) == (None, None, None)


def test_every_damage_is_found(score):
    content = pack_score(score)
    random = np.random.default_rng(0)
    for place in [0, 31, 32, len(content) - 1, *random.integers(0, len(content), 40)]:
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(DamagedScoreError):
            unpack_score(bytes(changed))
        with pytest.raises(DamagedScoreError):
            unpack_score(content[:place])

"""What a step of VIRST's training learns from: frames, questions and masks of two tiny clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.training_settings import VirstTrainingSettings
from vseg_ros.virst.training_batches import QuestionedClips, draw_batch

FRAMES, SIDE = 3, 32
"""Of the two clips."""
Clips = Callable[..., QuestionedClips]
Settings = Callable[..., VirstTrainingSettings]


def test_a_batch(two_clips: Clips, make_settings: Settings) -> None:
    clips = two_clips(asked=2)
    batch = draw_batch(clips, make_settings(1, frames=2), np.random.default_rng(0))
    assert [tuple(level.shape) for level in batch.maps] == [
        (2, 2, 16, 16, 32), (2, 2, 8, 8, 64), (2, 2, 4, 4, 160), (2, 2, 2, 2, 256)]
    assert batch.masks.shape == (6, 2, SIDE, SIDE)
    for clip in range(2):
        asked = batch.questions[3 * clip:3 * clip + 3]
        assert asked[0] != asked[1]
        assert asked[2] == asked[0], 'asked again where there are too few'
        frames = [[frame for frame in range(FRAMES) if torch.equal(
            clips[which].maps[0][frame], batch.maps[0][clip, place])] for which in range(2)
            for place in range(2)]
        index = 0 if frames[0] else 1
        order = [each[0] for each in frames[2 * index:2 * index + 2]]
        assert order == sorted(order)
        for number, question in enumerate(asked):
            for place, frame in enumerate(order):
                regions = clips[index].regions[frame]
                expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
                for region in question.regions:
                    expected |= regions == region
                assert torch.equal(batch.masks[3 * clip + number, place], expected)


def test_what_matches_nothing_has_empty_masks(two_clips: Clips, make_settings: Settings) -> None:
    batch = draw_batch(two_clips(), make_settings(1, questions=4), np.random.default_rng(0))
    empty = [number for number, each in enumerate(batch.questions) if not each.regions]
    assert len(empty) == 2
    assert not batch.masks[empty].any()


def test_stage_2_takes_single_images(two_clips: Clips, make_settings: Settings) -> None:
    batch = draw_batch(two_clips(), make_settings(2), np.random.default_rng(0))
    assert {level.shape[1] for level in batch.maps} == {1}
    assert batch.masks.shape[1] == 1


class NoClips:
    def __len__(self) -> int:
        return 0


def test_nothing_to_ask_is_said(two_clips: Clips, make_settings: Settings) -> None:
    for clips in (two_clips(asked=0), NoClips()):
        with pytest.raises(UserError, match='no clip has a question'):
            draw_batch(clips, make_settings(1), np.random.default_rng(0))


@pytest.mark.parametrize('name', ['claims', 'things', 'choice'])
def test_what_holds_of_things_is_asked_for_where_it_counts(name: str, two_clips: Clips,
                                                           make_settings: Settings) -> None:
    random = np.random.default_rng(0)
    assert draw_batch(two_clips(), make_settings(0), random).claims == [None, None]
    random = np.random.default_rng(0)
    claims = draw_batch(two_clips(), make_settings(0, **{name: 1.0}), random).claims
    assert {each is None for each in claims} == {False, True}, 'one clip of each'

"""The class vote (Eq. 4, A1 to A4), pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.ditta.class_vote import ClassVote
from vseg_ros.settings import VoteSettings

CLASSES, HEIGHT, WIDTH, TIMES = 4, 5, 7, 3
SETTINGS = VoteSettings(lambda_area=0.3, lambda_freq=0.8)

VotedFrame = tuple[NDArray[np.uint8], NDArray[np.float32], dict[int, NDArray[np.bool_]]]


def random_video(seed: int) -> list[VotedFrame]:
    random = np.random.default_rng(seed)
    return [(random.integers(0, CLASSES, (HEIGHT, WIDTH), dtype=np.uint8),
             random.random((HEIGHT, WIDTH), dtype=np.float32),
             {key: random.random((HEIGHT, WIDTH)) < 0.4 for key in (1, 2, 9)
              if (key + time) % 3})
            for time in range(TIMES)]


def literal_score(video: list[VotedFrame], object_id: int, label: int,
                  settings: VoteSettings) -> float:
    """Eq. A4 from A1, A2 and A3."""
    reliability, shown, inside, everywhere = 0.0, 0, 0, 0
    for labels, sure, masks in video:
        for y in range(HEIGHT):
            for x in range(WIDTH):
                everywhere += labels[y, x] == label
                if object_id in masks and masks[object_id][y, x]:
                    inside += 1
                    if labels[y, x] == label:
                        shown += 1
                        reliability += float(sure[y, x])
    if not shown:
        return 0.0
    frequency = 1 - everywhere / (len(video) * HEIGHT * WIDTH)
    return (reliability / shown * (shown / inside) ** settings.lambda_area
            * frequency ** settings.lambda_freq)


def vote_on(video: list[VotedFrame], settings: VoteSettings = SETTINGS) -> ClassVote:
    vote = ClassVote(CLASSES, settings)
    for labels, sure, masks in video:
        vote.add_frame(labels, sure, masks)
    return vote


@pytest.mark.parametrize('settings', [SETTINGS, VoteSettings(lambda_area=1.5, lambda_freq=0)])
@pytest.mark.parametrize('seed', range(4))
def test_scores_are_equation_4(seed: int, settings: VoteSettings) -> None:
    video = random_video(seed)
    scores = vote_on(video, settings).scores()
    assert set(scores) == {1, 2, 9}
    for object_id, score in scores.items():
        expected = [literal_score(video, object_id, label, settings) for label in range(CLASSES)]
        assert score == pytest.approx(np.array(expected), rel=1e-5)


def test_an_object_that_was_never_seen_gets_no_score() -> None:
    labels, sure, _ = random_video(0)[0]
    nowhere = np.zeros((HEIGHT, WIDTH), bool)
    assert vote_on([(labels, sure, {4: nowhere})]).scores() == {}


def test_a_class_that_covers_the_whole_video_scores_nothing() -> None:
    labels = np.full((HEIGHT, WIDTH), 2, np.uint8)
    sure = np.ones((HEIGHT, WIDTH), np.float32)
    scores = vote_on([(labels, sure, {1: labels == 2})]).scores()
    assert scores[1].tolist() == [0, 0, 0, 0]

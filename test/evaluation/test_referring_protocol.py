"""Every sentence asked over its whole video, kept, and scored."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.referring import NO_MATCH, ReferringClip
from vseg_ros.errors import UserError
from vseg_ros.evaluation.referring_protocol import evaluate_referring, robustness, windows
from vseg_ros.evaluation.referring_results import AnswerFolder
from vseg_ros.frame import MaskTrack
from vseg_ros.video_query import check_question, check_window

COLORS = ('red', 'green', 'blue')
SIDE = 48


class ColorQuery:
    """Answers with the pixels of the first colour that a sentence names."""

    def __init__(self):
        self.asked = []

    def ask(self, frames, text):
        check_window(frames)
        words = check_question(text).split()
        self.asked.append((text, [frame.stamp for frame in frames]))
        images = np.stack([frame.image for frame in frames])
        channel = next((COLORS.index(word) for word in words if word in COLORS), None)
        masks = (np.zeros(images.shape[:3], bool) if channel is None
                 else (images[..., channel] > 128) & (images.sum(axis=-1) < 400))
        return MaskTrack(masks, tuple(frame.stamp for frame in frames), masks.any(axis=(1, 2)),
                         1.0)

    def follow(self):
        raise ValueError('nothing to follow')


def boxes(frames, color):
    """Where the box of a colour is in every frame: they walk to the right, one below another."""
    masks = np.zeros((frames, SIDE, 2 * SIDE), bool)
    row = 16 * COLORS.index(color)
    for frame in range(frames):
        masks[frame, row:row + 16, 8 * (frame % 8):8 * (frame % 8) + 16] = True
    return masks


@pytest.fixture
def files(tmp_path):
    """Ten frames with a box of each colour."""
    paths = []
    for frame in range(10):
        image = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
        for channel, color in enumerate(COLORS):
            image[boxes(10, color)[frame], channel] = 255
        paths.append(tmp_path / f'{frame:05}.png')
        cv2.imwrite(str(paths[-1]), image[..., ::-1])
    return tuple(paths)


def sentence(files, text, masks=None, *, key='0', **more):
    return ReferringClip('v', text, key, files, 5.0, None if masks is None else masks.__getitem__,
                         **more)


def test_what_is_named_is_scored(files):
    red, green = boxes(10, 'red'), boxes(10, 'green')
    shifted = np.roll(red, 4, axis=2)
    result = evaluate_referring(ColorQuery(), [
        sentence(files, 'the red box', red), sentence(files, 'the green box', red, key='1'),
        sentence(files, 'the red box', shifted, key='2'),
        sentence(files, 'a blue box', green & False, key='3'),
        sentence(files, 'a cat', green & False, key='4')])
    perfect, wrong, near, marked, nothing = result.scores
    assert (perfect.j, perfect.f, perfect.no_match, perfect.empty) == (1, 1, False, False)
    assert wrong.j == 0
    assert near.j == pytest.approx(12 / 20)
    assert (marked.jf, marked.no_match, marked.empty) == (0, True, False)
    assert (nothing.jf, nothing.no_match, nothing.empty) == (1, True, True)
    assert result.no_match_empty == 0.5
    assert result.frames == 50
    assert math.isnan(result.ciou)


@pytest.mark.parametrize(('text', 'said'), [
    (' \n', 'the question is empty'), ('red ' * 400, 'the question has 1599 characters')])
def test_a_sentence_that_cannot_be_asked_is_named_before_its_video_is_seen(files, text, said):
    query = ColorQuery()
    with pytest.raises(UserError, match=f'sentence 17 about v cannot be asked: {said}'):
        evaluate_referring(query, [sentence(files, 'the red box'),
                                   sentence(files, text, key='17')])
    assert not query.asked


@pytest.mark.parametrize(('longest', 'sizes'), [(None, [10]), (10, [10]), (4, [4, 3, 3]),
                                                (1, [1] * 10)])
def test_long_videos_get_a_mask_on_every_frame(files, longest, sizes):
    query = ColorQuery()
    texts = 'The  RED box', 'green'
    result = evaluate_referring(query, [
        sentence(files, text, boxes(10, color), key=color)
        for text, color in zip(texts, COLORS, strict=False)], longest_window=longest)
    assert [score.jf for score in result.scores] == [1, 1]
    assert [score.expression_id for score in result.scores] == ['red', 'green']
    # Window by window, so that what is computed of its frames serves both sentences.
    assert [len(stamps) for _, stamps in query.asked] == [n for size in sizes for n in (size,) * 2]
    assert [text for text, _ in query.asked[:2]] == ['the red box', 'green']
    seen = sorted(stamp for _, stamps in query.asked[::2] for stamp in stamps)
    assert seen == [200_000_000 * frame for frame in range(10)]


def test_windows_reach_from_the_beginning_to_the_end():
    for frames in (1, 5, 64, 65, 200):
        parts = windows(frames, 64)
        assert sorted(number for part in parts for number in part) == list(range(frames))
        assert max(map(len, parts)) <= 64
        assert len(parts) == math.ceil(frames / 64)
        assert all(part[0] < len(parts) and part[-1] >= frames - len(parts) for part in parts)


def test_masks_may_be_unknown(files):
    result = evaluate_referring(ColorQuery(), [sentence(files, 'red')])
    score, = result.scores
    assert math.isnan(score.jf)
    assert score.no_match is None
    assert math.isnan(result.no_match_empty)


def test_groups_and_excluded_pixels(files):
    red = boxes(10, 'red')
    left = np.zeros_like(red)
    left[..., :SIDE // 2] = True
    truth = red & ~left
    scores = evaluate_referring(ColorQuery(), [
        sentence(files, 'red', truth, group='reasoning'),
        sentence(files, 'red', truth, key='1', group='referring', read_ignored=left.__getitem__),
        sentence(files, 'red', truth & False, key='2', group=NO_MATCH)])
    assert scores.mean('j', 'reasoning') < 0.6
    assert scores.mean('j', 'referring') == 1
    assert scores.mean('j') == pytest.approx((1 + scores.mean('j', 'reasoning')) / 2)


def test_robustness_is_the_loops(files):
    rng = np.random.default_rng(4)
    masks, truth, every = rng.random((3, 6, 8, 9)) < np.array([0.3, 0.4, 0.6]).reshape(3, 1, 1, 1)
    every[2] = False
    wanted = []
    for frame in range(6):
        wrong = sum(masks[frame, y, x] and not truth[frame, y, x]
                    for y in range(8) for x in range(9))
        wanted.append(max(1 - wrong / (every[frame].sum() + 1e-6), 0.0))
    assert robustness(masks, truth, every) == pytest.approx(np.mean(wanted), abs=1e-9)
    assert math.isnan(robustness(masks, truth, None))
    both = boxes(10, 'red') | boxes(10, 'green')
    score, = evaluate_referring(ColorQuery(), [sentence(
        files, 'green', boxes(10, 'red'), read_foreground=both.__getitem__)]).scores
    assert score.robustness == pytest.approx(0.5, abs=1e-6)


def test_images_have_iou_sums(files):
    red, green = boxes(10, 'red'), boxes(10, 'green')
    image = files[:1]
    result = evaluate_referring(ColorQuery(), [
        sentence(image, 'red', np.roll(red, 8, axis=2)), sentence(image, 'red', red, key='1'),
        sentence(image, 'green', green & False, key='2')])
    assert result.giou == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert result.ciou == pytest.approx((128 + 256) / (384 + 256 + 256))


def test_a_stopped_run_goes_on(files, tmp_path):
    clips = [sentence(files, color, boxes(10, 'red'), key=color) for color in COLORS]
    whole = evaluate_referring(ColorQuery(), clips)

    class Stopping(ColorQuery):
        def ask(self, frames, text):
            if text == 'green':
                raise KeyboardInterrupt
            return super().ask(frames, text)
    with pytest.raises(KeyboardInterrupt):
        evaluate_referring(Stopping(), clips, answers=AnswerFolder(tmp_path / 'o', 'mevis', {}))
    query, done = ColorQuery(), []
    again = evaluate_referring(query, clips, answers=AnswerFolder(tmp_path / 'o', 'mevis', {}),
                               report=done.append)
    assert [text for text, _ in query.asked] == ['green', 'blue']
    # as text: one of the scores is not a number, and equal to nothing
    assert str(again.scores) == str(whole.scores)
    assert (again.frames, done) == (20, ['v'] * 3)
    third = evaluate_referring(query, clips, answers=AnswerFolder(tmp_path / 'o', 'mevis', {}))
    assert str(third.scores) == str(whole.scores)
    assert math.isnan(third.fps)


def test_truth_of_another_size_is_told(files):
    with pytest.raises(UserError, match='masks of v, expression 0, are 48x48, its images are 96x'):
        evaluate_referring(ColorQuery(), [sentence(files, 'red', boxes(10, 'red')[..., :SIDE])])


def test_an_answer_of_another_size_is_a_defect(files):
    class Short(ColorQuery):
        def ask(self, frames, text):
            return super().ask(frames[:3], text)
    with pytest.raises(ValueError, match='asked about 10 frames'):
        evaluate_referring(Short(), [sentence(files, 'red')])

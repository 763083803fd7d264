"""
Ask every sentence of a data set over its whole video and score the masks.

The sentences of one video are asked one after another over the same frames, so that what is
computed of a frame serves all of them. A video of more frames than a window may have is asked
about in several windows, each of every n-th frame: every window sees the video from its beginning
to its end, as the released evaluation does, and together they give every frame a mask.

As there, a sentence is asked in small letters. Scores are J and F of DAVIS-2017 over all frames,
ReVOS' robustness, and for images cIoU and gIoU; pixels that a data set excludes are not scored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from vseg_ros.datasets.referring import ReferringClip, by_video
from vseg_ros.errors import UserError
from vseg_ros.evaluation.image_iou import ImageIou
from vseg_ros.evaluation.referring_results import AnswerFolder
from vseg_ros.evaluation.referring_scores import ExpressionScore, ReferringResult
from vseg_ros.evaluation.region_contour import score_masks
from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.video_query import VideoQuery, check_question

Report = Callable[[str], None]
"""Called with the name of a video for every sentence done."""


def evaluate_referring(query: VideoQuery, clips: Iterable[ReferringClip], *,
                       longest_window: int | None = None, answers: AnswerFolder | None = None,
                       report: Report = lambda video: None) -> ReferringResult:
    """
    Ask all sentences and score the answers.

    Args:
        query: what answers.
        clips: the sentences; those of one video follow one another.
        longest_window: most frames to ask about at once; None asks about whole videos.
        answers: where the masks are kept; a sentence that has all its masks there is not asked
            again, but scored.
        report: told of every sentence.

    Returns:
        The scores; NaN where the data set publishes no masks.

    Raises:
        UserError: an image or mask is missing or damaged, a sentence cannot be asked, or an answer
            cannot be written.

    """
    clock, images, scores = _Clock(), ImageIou(), []
    single = True
    for video in by_video(clips):
        single &= len(video[0]) == 1
        for clip, masks in _answers(query, video, longest_window, answers, clock):
            truth = clip.masks()
            scores.append(score_expression(clip, masks, truth))
            if truth is not None and len(clip) == 1:
                images.add(masks, truth)
            report(clip.name)
    return ReferringResult(tuple(scores), clock.frames, clock.seconds,
                           images.ciou if single else math.nan,
                           images.giou if single else math.nan)


def score_expression(clip: ReferringClip, masks: BoolArray, truth: BoolArray | None
                     ) -> ExpressionScore:
    """
    Score one answer.

    Args:
        clip: the sentence.
        masks: bool [T, H, W], the answer.
        truth: bool [T, H, W], or None where it is not published.

    Raises:
        UserError: the truth has another size than the images.

    """
    empty = not masks.any()
    if truth is None:
        return ExpressionScore(clip.name, clip.expression_id, clip.group, math.nan, math.nan,
                               math.nan, None, empty)
    if truth.shape != masks.shape:
        raise UserError(f'the masks of {clip.name}, expression {clip.expression_id}, are '
                        f'{truth.shape[2]}x{truth.shape[1]}, its images are '
                        f'{masks.shape[2]}x{masks.shape[1]}: download both again')
    no_match = not truth.any()
    ignored = clip.ignored()
    if ignored is not None:
        masks, truth = masks & ~ignored, truth & ~ignored
    found = score_masks(masks, truth)
    return ExpressionScore(clip.name, clip.expression_id, clip.group, found.j, found.f,
                           robustness(masks, truth, clip.foreground()), no_match, empty)


def robustness(masks: BoolArray, truth: BoolArray, foreground: BoolArray | None) -> float:
    """
    Return ReVOS' robustness: 1 less the wrongly marked area over that of all annotated objects.

    Args:
        masks: bool [T, H, W], the answer.
        truth: bool [T, H, W].
        foreground: bool [T, H, W], all annotated objects, or None.

    Returns:
        Mean over the frames of what is at least 0, at most 1; NaN without a foreground.

    """
    if foreground is None:
        return math.nan
    wrong = np.count_nonzero(masks & ~truth, axis=(1, 2))
    objects = np.count_nonzero(foreground, axis=(1, 2))
    return float(np.maximum(1 - wrong / (objects + 1e-6), 0).mean())


def windows(frames: int, longest: int | None) -> list[range]:
    """
    Divide a video into windows of every n-th frame.

    Args:
        frames: how many there are, at least 1.
        longest: most frames of a window, at least 1; None for a single window.

    Returns:
        As few windows as possible, which together hold every frame once.

    """
    step = 1 if longest is None else math.ceil(frames / longest)
    return [range(start, frames, step) for start in range(step)]


class _Clock:
    """Frames asked about and the time it took."""

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0


def _answers(query: VideoQuery, video: Sequence[ReferringClip], longest: int | None,
             answers: AnswerFolder | None, clock: _Clock
             ) -> Iterator[tuple[ReferringClip, BoolArray]]:
    """Yield each sentence of a video with its masks, those that are kept already first."""
    unasked = []
    for clip in video:
        if answers is not None and answers.has(clip):
            yield clip, answers.read(clip)
        else:
            unasked.append(clip)
    if unasked:
        for clip, masks in _ask(query, unasked, longest, clock):
            if answers is not None:
                answers.write(clip, masks)
            yield clip, masks


def _ask(query: VideoQuery, clips: Sequence[ReferringClip], longest: int | None, clock: _Clock
         ) -> Iterator[tuple[ReferringClip, BoolArray]]:
    """Ask all sentences of one video, window by window; yield each when its last is done."""
    questions = [_question(clip) for clip in clips]
    parts = windows(len(clips[0]), longest)
    found: list[list[UInt8Array]] = [[] for _ in clips]
    for part in parts:
        frames = clips[0].frames(part)
        for clip, question, bits in zip(clips, questions, found, strict=True):
            start = time.perf_counter()
            track = query.ask(frames, question)
            clock.seconds += time.perf_counter() - start
            clock.frames += len(frames)
            if track.masks.shape != (len(frames), *frames[0].size):
                raise ValueError(f'asked about {len(frames)} frames of {frames[0].size}, '
                                 f'answered with masks {track.masks.shape}')
            # A video has many sentences: eight pixels a byte keep their masks small.
            bits.append(np.packbits(track.masks, axis=-1))
            if part is parts[-1]:
                yield clip, _join(bits, parts, frames[0].size[1])
                bits.clear()


def _question(clip: ReferringClip) -> str:
    try:
        return check_question(clip.expression.lower())
    except UserError as error:
        raise UserError(f'sentence {clip.expression_id} about {clip.name} cannot be asked: {error}'
                        ) from error


def _join(bits: Sequence[UInt8Array], parts: Sequence[range], width: int) -> BoolArray:
    """Put the masks of all windows back in the order of the frames, bool [T, H, W]."""
    frames = sum(len(part) for part in parts)
    masks = np.empty((frames, bits[0].shape[1], width), np.bool_)
    for part, packed in zip(parts, bits, strict=True):
        masks[part.start::part.step] = np.unpackbits(packed, axis=-1, count=width)
    return masks

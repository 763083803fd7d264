"""
The Warm-up-then-Freeze protocol (W2F): adapt on the first frames, score the others.

Every pipeline sees every frame of a video once, in order, with nothing dropped. The first frames
(10, 25 or 50 % in the paper) are there to adapt on and are not scored; the plain segmenter is
scored on the same remaining frames. A ratio of 1 is the full-video setting: the pipeline first
sees the whole video to adapt on it and then, frozen, sees it again from its first frame, and
all frames are scored.

`score_video` shows one video to one pipeline: that is the unit of work, which can run anywhere
(`evaluation/trial.py`). `evaluate` runs all of one run in this process.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.merging import merge_run
from vseg_ros.evaluation.results import EvaluationResult, VideoSpan
from vseg_ros.evaluation.samples import choose_frames
from vseg_ros.evaluation.scoring import VideoScorer, check_labels
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.frame import Segmentation
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.pipeline import SegmentationPipeline

PipelineFactory = Callable[[int, int], SegmentationPipeline]
"""(frames in the video, frames of warm-up) -> a fresh pipeline for that video."""

Progress = Callable[[int, int, str], None]
"""(frames done, frames in all, what is under way) -> None."""

Tick = Callable[[str], None]
"""What is under way -> None, called after every frame."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame as it was shown: the showing of the video, from 0, its number there, the frame."""

    showing: int
    index: int
    item: LabelledFrame


@dataclass(frozen=True, eq=False)
class _Answer:
    """A segmentation, the frame it belongs to, and the seconds it took."""

    shown: _Shown
    segmentation: Segmentation
    seconds: float


def warmup_length(frames: int, ratio: float) -> int:
    """
    Return how many leading frames of a video to adapt on.

    Args:
        frames: frames in the video.
        ratio: share to adapt on, 0..1.

    Returns:
        The share rounded down, at least one frame, as in the paper's evaluation.

    """
    # A tolerance: 0.29 * 100 is 28.999999999999996.
    return max(int(frames * ratio + 1e-9), 1)


def _show(video: FrameSource, showings: int) -> Iterator[_Shown]:
    """Read the video from its first frame, as often as asked for."""
    for showing in range(showings):
        for index, item in enumerate(video):
            yield _Shown(showing, index, item)


def _segmented(name: str, pipeline: SegmentationPipeline,
               frames: Iterator[_Shown]) -> Iterator[_Answer]:
    """
    Show a pipeline its frames and pair each with its segmentation.

    A pipeline that fills a clip first answers several frames at once; they share the time that
    the whole clip took.

    Raises:
        RuntimeError: an answer is missing, out of order or of another size than its frame.

    """
    waiting: deque[_Shown] = deque()
    spent = 0.0

    def answers(segmentations: list[Segmentation]) -> Iterator[_Answer]:
        for segmentation in segmentations:
            if not waiting or waiting[0].item.frame.stamp != segmentation.stamp:
                raise RuntimeError(f'{name} answered stamp {segmentation.stamp} out of order')
            shown = waiting.popleft()
            if segmentation.labels.shape != shown.item.frame.size:
                raise RuntimeError(f'{name} answered {list(segmentation.labels.shape)} to a '
                                   f'frame of {list(shown.item.frame.size)}')
            yield _Answer(shown, segmentation, spent / len(segmentations))

    for shown in frames:
        waiting.append(shown)
        started = perf_counter()
        segmentations = pipeline.step(shown.item.frame)
        spent += perf_counter() - started
        if segmentations:
            yield from answers(segmentations)
            spent = 0.0
    started = perf_counter()
    segmentations = pipeline.finish()
    spent += perf_counter() - started
    yield from answers(segmentations)
    if waiting:
        raise RuntimeError(f'{name} left {len(waiting)} frames unanswered')


def score_video(name: str, pipeline: SegmentationPipeline, video: FrameSource, warmup: int, *,
                full_video: bool = False, samples: Collection[int] = (),
                tick: Tick = lambda text: None) -> VideoScore:
    """
    Show a pipeline one video and count its answers.

    Args:
        name: what the pipeline is called.
        pipeline: a fresh one.
        video: the video, as it is to be seen.
        warmup: number of leading frames to adapt on, which are not scored.
        full_video: show the video twice, to adapt on it and then to score all of it.
        samples: numbers of the frames to keep for looking at.
        tick: called after every frame with what is under way.

    Raises:
        UserError: the video is damaged, or its labels do not fit the predictions.

    """
    showings = 2 if full_video else 1
    score = VideoScorer(pipeline.label_set, samples)
    for answer in _segmented(name, pipeline, _show(video, showings)):
        adapting = answer.shown.showing < showings - 1
        if not adapting:
            _count(name, video, answer, score,
                   scored=full_video or answer.shown.index >= warmup)
        tick(f'{name} adapts to {video.name}' if adapting else f'{name} on {video.name}')
    return score.finish(video.name, warmup, video.label_set, getattr(pipeline, 'history', ()),
                        pipeline.status.message)


def _count(name: str, video: FrameSource, answer: _Answer, score: VideoScorer, *,
           scored: bool) -> None:
    """Count one answer."""
    frame, labels = answer.shown.item.frame, answer.shown.item.labels
    if labels is not None:
        check_labels(labels, video.label_set, answer.segmentation, name,
                     f'frame {answer.shown.index} of {video.name}')
    score.add(frame.image, answer.segmentation, labels, answer.seconds, scored=scored)


def count_frames(video: FrameSource) -> int:
    """
    Return how many frames a video has, reading it through if it does not know.

    Raises:
        UserError: it has none, or is damaged.

    """
    frames = video.frame_count
    if frames is None:
        frames = sum(1 for _ in video)
    if not frames:
        raise UserError(f'{video.name} has no frame to evaluate: check the file or folder')
    return frames


def check_ratio(warmup_ratio: float) -> None:
    """
    Refuse a warm-up of another share than 0..1.

    Raises:
        UserError: it is one.

    """
    if not 0 <= warmup_ratio <= 1:
        raise UserError(f'a warm-up of {warmup_ratio * 100:g} % of the video is impossible: '
                        'choose 0 to 100 %')


def frames_to_show(spans: Sequence[VideoSpan], warmup_ratio: float,
                   count: int) -> list[tuple[int, ...]]:
    """Choose the frames of each video to keep for looking at, among those that are scored."""
    full_video = warmup_ratio == 1
    return choose_frames([range(0 if full_video else span.warmup, span.frames)
                          for span in spans], count)


def evaluate(videos: Sequence[FrameSource], pipelines: Mapping[str, PipelineFactory],
             warmup_ratio: float, *, source: str, seed: int = 0, samples: int = 4,
             progress: Progress | None = None,
             condition: Condition = AS_RECORDED) -> EvaluationResult:
    """
    Score pipelines side by side under the Warm-up-then-Freeze protocol.

    Without labels the region and consistency scores are NaN and flicker is still measured.

    Args:
        videos: the videos, each read once a pipeline (twice at a ratio of 1), by distinct names.
        pipelines: name -> factory, called once a video; the first is what the others are
            compared with.
        warmup_ratio: share of each video to adapt on, 0..1; at 1 all frames are scored too.
        source: what the report calls the videos together.
        seed: the seed that the factories use, and the weather; recorded with the results.
        samples: how many frames to keep for looking at.
        progress: called after every frame.
        condition: the weather and the frame rate to see the videos in.

    Returns:
        Scores, timelines, losses and samples of every pipeline.

    Raises:
        UserError: nothing to evaluate, a ratio out of range, or labels that do not fit the
            predictions.

    """
    if not videos or not pipelines:
        raise UserError('there is nothing to evaluate: name at least one video and one pipeline')
    check_ratio(warmup_ratio)
    full_video = warmup_ratio == 1
    seen = [condition(video, seed) for video in videos]
    spans = [VideoSpan(video.name, frames, warmup_length(frames, warmup_ratio))
             for video in seen for frames in [count_frames(video)]]
    shown = frames_to_show(spans, warmup_ratio, samples)
    total = len(pipelines) * (2 if full_video else 1) * sum(span.frames for span in spans)
    done = itertools.count(1)

    def tick(text: str) -> None:
        if progress is not None:
            progress(next(done), total, text)

    return merge_run(
        {name: [score_video(name, factory(span.frames, span.warmup), video, span.warmup,
                            full_video=full_video, samples=chosen, tick=tick)
                for video, span, chosen in zip(seen, spans, shown, strict=True)]
         for name, factory in pipelines.items()},
        source=source, seed=seed, warmup_ratio=warmup_ratio, condition=condition)

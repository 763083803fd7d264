"""
The Warm-up-then-Freeze protocol (W2F): adapt on the first frames, score the others.

Every pipeline sees every frame of a video once, in order, with nothing dropped. The first frames
(10, 25 or 50 % in the paper) are there to adapt on and are not scored; the plain segmenter is
scored on the same remaining frames. A ratio of 1 is the full-video setting: the pipeline first
sees the whole video to adapt on it and then, frozen, sees it again from its first frame, and
all frames are scored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.results import EvaluationResult, PipelineResult, VideoSpan
from vseg_ros.evaluation.samples import SampleTaker
from vseg_ros.evaluation.scoring import PipelineScore, check_labels
from vseg_ros.frame import Segmentation
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.pipeline import SegmentationPipeline

PipelineFactory = Callable[[int, int], SegmentationPipeline]
"""(frames in the video, frames of warm-up) -> a fresh pipeline for that video."""

Progress = Callable[[int, int, str], None]
"""(frames done, frames in all, what is under way) -> None."""


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


class _Evaluation:
    """One call of `evaluate`: the videos, what is scored of them, and how far it is."""

    def __init__(self, videos: Sequence[FrameSource], pipelines: int, warmup_ratio: float,
                 samples: int, progress: Progress | None) -> None:
        self._videos = videos
        self._showings = 2 if warmup_ratio == 1 else 1
        self.spans = [_span(video, warmup_ratio) for video in videos]
        scored = [(span.name, index) for span in self.spans
                  for index in range(self._first_scored(span), span.frames)]
        self.samples = SampleTaker(scored, samples)
        self._progress = progress
        self._done = 0
        self._total = pipelines * self._showings * sum(span.frames for span in self.spans)

    @property
    def full_video(self) -> bool:
        """Whether each video is shown twice, to adapt on it and then to score all of it."""
        return self._showings == 2

    def _first_scored(self, span: VideoSpan) -> int:
        return 0 if self.full_video else span.warmup

    def _tick(self, text: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total, text)

    def run(self, name: str, factory: PipelineFactory) -> PipelineResult:
        """Score one pipeline on all videos."""
        score: PipelineScore | None = None
        for number, video in enumerate(self._videos):
            span = self.spans[number]
            pipeline = factory(span.frames, span.warmup)
            score = score or PipelineScore(pipeline.label_set)
            seen = 0
            for answer in _segmented(name, pipeline, _show(video, self._showings)):
                adapting = answer.shown.showing < self._showings - 1
                if not adapting:
                    self._add(name, span, video, answer, score)
                    seen += 1
                self._tick(f'{name} adapts to {span.name}' if adapting
                           else f'{name} on {span.name}')
            # A container's own count can be off by a few frames.
            self.spans[number] = replace(span, frames=seen, warmup=min(span.warmup, seen))
            score.end_video(getattr(pipeline, 'history', ()), pipeline.status.message)
        assert score is not None
        return score.result()

    def _add(self, name: str, span: VideoSpan, video: FrameSource, answer: _Answer,
             score: PipelineScore) -> None:
        """Count one answer."""
        index, segmentation = answer.shown.index, answer.segmentation
        frame, labels = answer.shown.item.frame, answer.shown.item.labels
        if labels is not None:
            check_labels(labels, video.label_set, segmentation, name,
                         f'frame {index} of {span.name}')
        scored = index >= self._first_scored(span)
        flicker = score.add(frame.image, segmentation, labels, answer.seconds, scored=scored)
        if scored:
            self.samples.take(span.name, index, frame.image, labels, name, segmentation.labels,
                              flicker.changed)


def _span(video: FrameSource, warmup_ratio: float) -> VideoSpan:
    """Measure one video, reading it through if it does not know its length."""
    frames = video.frame_count
    if frames is None:
        frames = sum(1 for _ in video)
    if not frames:
        raise UserError(f'{video.name} has no frame to evaluate: check the file or folder')
    return VideoSpan(video.name, frames, warmup_length(frames, warmup_ratio))


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
    if not 0 <= warmup_ratio <= 1:
        raise UserError(f'a warm-up of {warmup_ratio * 100:g} % of the video is impossible: '
                        'choose 0 to 100 %')
    seen = [condition(video, seed) for video in videos]
    run = _Evaluation(seen, len(pipelines), warmup_ratio, samples, progress)
    results = {name: run.run(name, factory) for name, factory in pipelines.items()}
    label_set = next((video.label_set for video in videos if video.label_set), None)
    return EvaluationResult(
        source=source, seed=seed, warmup_ratio=warmup_ratio, full_video=run.full_video,
        videos=tuple(run.spans), label_set=label_set, pipelines=results,
        samples=run.samples.samples, condition=condition)

"""
What is counted of one pipeline on one video: everything that its scores are made of.

A `VideoScore` is small, can be stored and sent, and those of several videos merge
(`evaluation/merging.py`) into exactly the scores that one pass over all of them would give: pixels
and windows are counted as sums, and what enters a mean or a median over frames is kept a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.evaluation.results import VideoSpan
from vseg_ros.evaluation.samples import SampledFrame
from vseg_ros.evaluation.video_consistency import ConsistencyForm
from vseg_ros.evaluation.windows import WindowMean
from vseg_ros.labels import LabelSet

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoScore:
    """
    The counts of one pipeline on one video of L frames, S of which are scored.

    Attributes:
        span: name and length of the video, as it was seen.
        label_set: the C classes that the pipeline predicts.
        truth: classes of the ground truth, None without any or if the video does not tell.
        confusion: int64 [C + 1, C + 1], see `ConfusionMatrix.all_counts`.
        windows: sums and counts of mVC8 and mVC16.
        form: the ground truth that mVC was measured with, None without any.
        flicker: float64 [S], share of pixels that changed class, NaN at the first frame.
        still_flicker: float64 [S], the same where the image hardly changed, NaN where nowhere.
        seconds: float64 [S], what the answer to a frame took.
        timeline: float64 [L], flicker of every frame, warm-up included.
        history: losses of the adaptation, one name -> value mapping a step.
        message: what the pipeline had to say, empty if all was well.
        samples: the frames that were to be shown.

    """

    span: VideoSpan
    label_set: LabelSet
    truth: LabelSet | None
    confusion: NDArray[np.int64]
    windows: WindowMean
    form: ConsistencyForm | None
    flicker: Float64Array
    still_flicker: Float64Array
    seconds: Float64Array
    timeline: Float64Array
    history: tuple[Mapping[str, float], ...]
    message: str
    samples: tuple[SampledFrame, ...]

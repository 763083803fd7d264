"""
What a segmentation pipeline is, and the one place that makes them.

A pipeline has one verb, `step(frame)`, which returns the segmentations that became ready: none
while a clip fills, several when it closes. `finish()` returns what a buffer still holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.settings import PIPELINE_SETTINGS, PipelineSettings


class PipelineState(str, Enum):
    """What a pipeline is doing."""

    RUNNING = 'RUNNING'
    WARMING_UP = 'WARMING_UP'
    ADAPTING = 'ADAPTING'
    FROZEN = 'FROZEN'


@dataclass(frozen=True)
class PipelineStatus:
    """
    A snapshot of a pipeline.

    Attributes:
        state: what it is doing.
        progress: share of the warm-up or adaptation done, 0..1; 1 when there is none.
        message: one line a person can read; empty when all is as it should be.

    """

    state: PipelineState
    progress: float = 1.0
    message: str = ''


@runtime_checkable
class SegmentationPipeline(Protocol):
    """A video segmentation method, one frame at a time."""

    @property
    def label_set(self) -> LabelSet:
        """Names and colours of the ids in its segmentations."""
        ...

    @property
    def status(self) -> PipelineStatus:
        """What it is doing now; may be read from any thread."""
        ...

    def step(self, frame: Frame) -> list[Segmentation]:
        """
        Take the next frame.

        Returns:
            the segmentations that became ready, in order of time.

        """
        ...

    def finish(self) -> list[Segmentation]:
        """Return what is still held back; the pipeline takes no frame afterwards."""
        ...


def create_pipeline(name: str, settings: PipelineSettings) -> SegmentationPipeline:
    """
    Make a pipeline.

    Args:
        name: 'iss' (the plain image segmenter), 'ditta', 'time2general', or a baseline: 'tent',
            'cotta', 'auxadapt' or 'refine'.
        settings: of the type that `PIPELINE_SETTINGS[name]` gives.

    Raises:
        UserError: no such pipeline, or its weights, device or tracker are not there.

    """
    if not isinstance(settings, PIPELINE_SETTINGS[require_pipeline(name)]):
        raise TypeError(f'{type(settings).__name__} does not configure {name}')
    if name == 'ditta':
        from vseg_ros.ditta.onnx_pipeline import ExportedDittaPipeline
        from vseg_ros.ditta.pipeline import DittaPipeline
        from vseg_ros.settings import DittaSettings
        assert isinstance(settings, DittaSettings)
        return (ExportedDittaPipeline(settings) if ExportedDittaPipeline.runs(settings)
                else DittaPipeline(settings))
    if name == 'time2general':
        from vseg_ros.settings import Time2GeneralSettings
        from vseg_ros.time2general.pipeline import Time2GeneralPipeline
        assert isinstance(settings, Time2GeneralSettings)
        return Time2GeneralPipeline(settings)
    from vseg_ros.settings import SegmenterSettings
    if name != 'iss':
        from vseg_ros.baselines.factory import create_baseline
        assert isinstance(settings, SegmenterSettings)
        return create_baseline(settings)
    from vseg_ros.models.image_pipeline import ImagePipeline
    assert isinstance(settings, SegmenterSettings)
    return ImagePipeline(settings)


def require_pipeline(name: str) -> str:
    """
    Return `name` if a pipeline has it.

    Raises:
        UserError: none has; the line lists those there are.

    """
    if name not in PIPELINE_SETTINGS:
        raise UserError(f'no pipeline {name!r}: there are {", ".join(PIPELINE_SETTINGS)}')
    return name


def split_names(text: str) -> Sequence[str]:
    """
    Read 'iss,ditta' as pipeline names.

    Raises:
        UserError: no name at all, or one that no pipeline has.

    """
    names = [require_pipeline(name.strip()) for name in text.split(',') if name.strip()]
    if not names:
        raise UserError(f'no pipeline named: there are {", ".join(PIPELINE_SETTINGS)}')
    return names

"""Make a baseline from its settings."""

from __future__ import annotations

from vseg_ros.baselines.auxadapt import AuxAdaptLearner
from vseg_ros.baselines.cotta import CottaLearner
from vseg_ros.baselines.online import OnlinePipeline
from vseg_ros.baselines.refine import RefinePipeline
from vseg_ros.baselines.tent import TentLearner
from vseg_ros.settings import (
    AuxAdaptSettings,
    CottaSettings,
    RefineSettings,
    SegmenterSettings,
    TentSettings,
)


def create_baseline(settings: SegmenterSettings) -> OnlinePipeline | RefinePipeline:
    """
    Make the baseline that settings configure.

    Args:
        settings: of TENT, CoTTA, AuxAdapt or zero-shot refinement.

    Raises:
        TypeError: settings of something else.
        UserError: weights, device or tracker are not there.

    """
    if isinstance(settings, TentSettings):
        return OnlinePipeline(settings, lambda labeller: TentLearner(labeller, settings))
    if isinstance(settings, CottaSettings):
        return OnlinePipeline(settings, lambda labeller: CottaLearner(labeller, settings))
    if isinstance(settings, AuxAdaptSettings):
        return OnlinePipeline(settings, lambda labeller: AuxAdaptLearner(labeller, settings))
    if isinstance(settings, RefineSettings):
        return RefinePipeline(settings)
    raise TypeError(f'{type(settings).__name__} does not configure a baseline')

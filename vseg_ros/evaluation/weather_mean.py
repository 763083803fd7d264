"""The mean of each score over the weathers of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

from vseg_ros.evaluation.results import EvaluationResult, Scores

WEATHER_MEAN = 'mean over weathers'
"""What tables call it."""


@dataclass(frozen=True)
class WeatherMean:
    """
    Scores over all weathers at one warm-up ratio and stride.

    Attributes:
        last: the last result that it takes in; its row comes after this one's.
        pipelines: name -> the mean of every score, NaN if it is so in any weather.

    """

    last: EvaluationResult
    pipelines: Mapping[str, Scores]


def weather_means(results: Sequence[EvaluationResult]) -> list[WeatherMean]:
    """
    Average over the weathers, clean frames left out.

    Args:
        results: one result a run, of the same pipelines.

    Returns:
        One mean a warm-up ratio and stride that was run in two weathers or more.

    """
    groups: dict[tuple[float, int], list[EvaluationResult]] = {}
    for result in results:
        if result.condition.weather is not None:
            groups.setdefault((result.warmup_ratio, result.condition.stride), []).append(result)
    return [WeatherMean(group[-1], {name: _mean([result.pipelines[name] for result in group])
                                    for name in group[0].pipelines})
            for group in groups.values() if len(group) > 1]


def _mean(scores: Sequence[Scores]) -> Scores:
    """Average every score."""
    return Scores(**{field.name: fmean(getattr(each, field.name) for each in scores)
                     for field in fields(Scores)})

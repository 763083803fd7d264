"""
The table over several warm-up ratios: what DiTTA's Table 1 shows.

One block a ratio, one row a pipeline; frames a second, mIoU, wIoU, mVC8, mVC16. The best of each
column of a block is marked.
"""

from __future__ import annotations

import math

from vseg_ros.evaluation.results import EvaluationResult

RATIO_COLUMNS = (
    ('fps', 'FPS', False), ('miou', 'mIoU', True), ('wiou', 'wIoU', True),
    ('mvc8', 'mVC8', True), ('mvc16', 'mVC16', True))
"""Attribute of `Scores`, heading, whether it is a share; more is better in all of them."""


def ratio_name(result: EvaluationResult) -> str:
    """Return the ratio of a run as the table has it, such as `10 %`."""
    return f'{result.warmup_ratio * 100:g} %'


def best_of(result: EvaluationResult) -> dict[str, set[str]]:
    """Return the pipelines that are best in each column: several if they are equal, or none."""
    best: dict[str, set[str]] = {}
    for attribute, _, _ in RATIO_COLUMNS:
        values = {name: getattr(scores, attribute) for name, scores in result.pipelines.items()}
        highest = max((value for value in values.values() if not math.isnan(value)),
                      default=math.nan)
        best[attribute] = {name for name, value in values.items() if value == highest}
    return best

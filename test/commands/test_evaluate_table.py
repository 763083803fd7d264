"""The tables of `vseg evaluate`: what could not be measured is a dash."""

from __future__ import annotations

import math

import pytest

from vseg_ros.commands.evaluate_table import print_scores
from vseg_ros.evaluation.results import EvaluationResult, PipelineResult, VideoSpan
from vseg_ros.labels import DRIVING


def result(ratio: float) -> EvaluationResult:
    """Every score of one pipeline is unknown, all of the other are known."""
    pipelines = {name: PipelineResult(
        miou=value, wiou=value, mvc8=value, mvc16=value, flicker=value, still_flicker=value,
        fps=value * 100, label_set=DRIVING, consistency=None, class_iou=(), timeline=(),
        history=(), messages=()) for name, value in (('iss', math.nan), ('ditta', 0.25))}
    return EvaluationResult('street:1', 0, ratio, False, (VideoSpan('street-1', 10, 2),), DRIVING,
                            pipelines, ())


@pytest.mark.parametrize('ratios', [(0.2,), (0.1, 0.2)])
def test_what_could_not_be_measured_is_a_dash(ratios: tuple[float, ...],
                                              capsys: pytest.CaptureFixture[str]) -> None:
    print_scores([result(ratio) for ratio in ratios])
    table = capsys.readouterr().out
    assert 'nan' not in table
    rows = [line.split('│')[1:-1] for line in table.splitlines() if 'iss' in line]
    assert len(rows) == len(ratios)
    for _, name, *cells in rows:
        assert (name.strip(), {cell.strip() for cell in cells}) == ('iss', {'-'})
    assert table.count('25.0 ') == len(ratios)

"""What a benchmark writes for programs and for people."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from vseg_ros.commands.bench_run import read_size
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.adaptation import BREAKDOWN
from vseg_ros.evaluation.bench.report import build_page
from vseg_ros.evaluation.bench.results import (
    BenchResult,
    Line,
    line_groups,
    markdown,
    read_bench,
    write_bench,
)


def all_lines(result: BenchResult) -> list[Line]:
    return [line for lines in line_groups(result).values() for line in lines]


@pytest.fixture
def result() -> BenchResult:
    return BenchResult('a <machine>', 2, (256, 448), 'driving-b0', 0, {
        'iss': {'fps': 30.0, 'peak_mib': 500.0},
        'ditta': {'fps': 24.0, 'fps_over_iss': 0.8, 'fps_over_iss_low': 0.75,
                  'fps_over_iss_high': 0.85, 'addon_memory_ratio': 0.02, 'peak_mib': None,
                  'adaptation_step_seconds': dict.fromkeys(BREAKDOWN, 2.0)}},
        ['the add-on: no memory'])


def test_json_has_every_promised_key(result: BenchResult, tmp_path: Path) -> None:
    write_bench(tmp_path / 'bench.json', result)
    written = json.loads((tmp_path / 'bench.json').read_text())
    assert written['machine'] == 'a <machine>'
    assert written['size'] == [256, 448]
    assert set(written['pipelines']['ditta']) >= {
        'fps', 'fps_over_iss', 'adaptation_speedup', 'addon_speedup', 'addon_memory_ratio',
        'peak_mib'}
    assert written['pipelines']['ditta']['addon_speedup'] is None
    assert written['pipelines']['iss'] == {'fps': 30.0, 'peak_mib': 500.0}


def test_lines_show_what_was_measured_and_nothing_else(result: BenchResult) -> None:
    shown = {what: (value, spread, wanted) for what, value, spread, wanted in all_lines(result)}
    assert shown['frozen DiTTA over the plain segmenter'] == ('0.80 x', '0.75 x to 0.85 x',
                                                              '0.80 x')
    assert shown['add-on, memory'] == ('1 / 50', '', '1 / 30')
    assert 'DiTTA with adaptation, peak memory' not in shown


def test_other_pipelines_are_shown_beside_the_plain_segmenter(result: BenchResult) -> None:
    result.pipelines['tent'] = {'fps': 5.0, 'fps_over_iss': 0.25}
    assert ('tent over the plain segmenter', '0.25 x', '', '') in line_groups(result)['Baselines']
    assert result.as_dict()['pipelines']['tent']['warmup_fps'] is None


def test_what_was_written_is_read_again(result: BenchResult, tmp_path: Path) -> None:
    write_bench(tmp_path / 'bench.json', result)
    read = read_bench(tmp_path / 'bench.json')
    assert read.size == (256, 448)
    assert line_groups(read) == line_groups(result)
    assert markdown(read) == markdown(result)


def test_what_belongs_together_is_under_one_title(result: BenchResult) -> None:
    result.pipelines |= {'virst': {'fps': 9.0}, 'tent': {'fps': 5.0}, 'cotta': {'fps': 4.0}}
    assert {title: len(lines) for title, lines in line_groups(result).items()} == {
        'DiTTA and the plain segmenter': 5, 'VIRST': 1, 'Baselines': 2}
    headings = [line for line in markdown(result).splitlines() if line.startswith('#')]
    assert headings == ['## DiTTA and the plain segmenter', '## VIRST', '## Baselines']


def test_a_table_of_markdown_has_a_row_a_line(result: BenchResult) -> None:
    rows = [row for row in markdown(result).splitlines() if row.startswith('|')]
    assert len(rows) == 2 + len(all_lines(result))
    assert '| plain segmenter, frames a second | 30.0 |  | 25 at 256x448, 2 threads |' in rows
    assert all(row.count('|') == 5 for row in rows)
    assert 'Left out: the add-on: no memory.' in markdown(result)


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"machine": "x"}'])
def test_a_file_that_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(UserError, match='no result of `vseg bench --json`'):
        read_bench(tmp_path / 'x.json')
    with pytest.raises(UserError, match='no result'):
        read_bench(tmp_path / 'missing.json')


def test_the_page_stands_alone_and_is_escaped(result: BenchResult) -> None:
    page = build_page(result, command='vseg bench', date=datetime(2024, 5, 1, 12, 0))
    assert 'a &lt;machine&gt;' in page
    assert 'Left out: the add-on: no memory' in page
    assert all(text in page for text in BREAKDOWN.values())
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.parametrize('text', ['256', '256x', '250x448', '32x64', '4096x448', 'axb', '2x3x4'])
def test_a_size_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UserError, match='multiples of 32 from 64 to 2048'):
        read_size(text)


def test_a_size_is_height_and_width() -> None:
    assert read_size('256x448') == (256, 448)

"""The report: whole, self-contained, well-formed, and it says what was found."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.errors import UserError
from vseg_ros.evaluation.charts import Band, Series, line_chart
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.protocol import evaluate
from vseg_ros.evaluation.report import build_report, write_report
from vseg_ros.pipeline import PipelineState, PipelineStatus

VOID = {'meta', 'img', 'br', 'link'}


class Page(HTMLParser):
    """Reads a page; refuses tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != 'style' and data.strip():
            self.texts.append(data.strip())

    def find(self, wanted):
        return [attributes for tag, attributes in self.tags if tag == wanted]


@pytest.fixture
def score(small_video, seeing_pipeline):
    def adapting(*_):
        pipeline = seeing_pipeline()
        pipeline.history = [{'total': 2.0, 'contrast': 0.5}, {'total': 1.0, 'contrast': 0.25}]
        pipeline.status = PipelineStatus(PipelineState.FROZEN, message='2 < 3 objects')
        return pipeline

    def run(ratio=0.1, condition=AS_RECORDED, **options):
        return evaluate(
            [small_video(30, **options), small_video(20, 'other', **options)],
            {'iss': lambda *_: seeing_pipeline(0), 'ditta': adapting}, ratio,
            source='a & b <drives>', condition=condition)
    return run


def page_of(*results):
    text = build_report(results, command='vseg evaluate "a & b"', machine='Toaster, 2 cores',
                        date=datetime(2024, 5, 6, 7, 8))
    return Page(text), text


def test_heading_tells_where_it_comes_from(score):
    page, _ = page_of(score())
    for text in ('Video segmentation of a & b <drives>', 'vseg evaluate "a & b"',
                 'Toaster, 2 cores', '2024-05-06 07:08',
                 '50 frames, warm-up on 5, scored on 45', 'ditta: 2 < 3 objects'):
        assert text in page.texts


def test_needs_no_other_file(score):
    page, text = page_of(score(), score(1.0), score(condition=Condition(stride=3)))
    for tag, attributes in page.tags:
        for name in ('src', 'href', 'xlink:href', 'srcset', 'action'):
            assert attributes.get(name, 'data:').startswith(('data:', '#run-')), (tag, name)
    assert not re.search(r'https?://|@import|url\(', text)
    assert not page.find('script')
    assert not page.find('link')


def test_scores_and_differences_from_the_first_pipeline(score):
    page, _ = page_of(score())
    start, end = page.texts.index('Scores'), page.texts.index('IoU by class')
    table = page.texts[start:end]
    assert {'mIoU', 'wIoU', 'mVC8', 'mVC16', 'flicker', 'fps'} <= set(table)
    row = table[table.index('ditta'):]
    assert row.count('100.0') == 4
    assert '+100.0' in row
    assert '\N{MINUS SIGN}100.0' in row
    good = [attributes for attributes in page.find('small') if attributes['class'] == 'good']
    assert len(good) >= 6


def test_bars_for_the_classes_of_the_truth(score):
    page, _ = page_of(score())
    bars = [item['aria-label'] for item in page.find('svg') if item.get('class') == 'bar']
    assert len(bars) == 2 * 3
    assert bars[1::2] == ['100.0'] * 3
    start, end = page.texts.index('IoU by class'), page.texts.index('Flicker')
    assert {'road', 'sky', '<car>'} <= set(page.texts[start:end])


def test_timeline_shades_the_warmup_of_every_video(score):
    _, text = page_of(score())
    chart = re.search(r'<svg role="img" aria-label="Flicker.*?</svg>', text, re.DOTALL)[0]
    assert re.findall(r'<rect x="(\d+)" y="0" width="(\d+)"', chart) == [('0', '3'), ('30', '2')]
    assert chart.count('<polyline') == 4
    _, full = page_of(score(1.0))
    chart = re.search(r'<svg role="img" aria-label="Flicker.*?</svg>', full, re.DOTALL)[0]
    assert '<rect' not in chart


def test_frames_side_by_side_are_real_pictures(score):
    result = score()
    page, _ = page_of(result)
    pictures = page.find('img')
    assert len(pictures) == len(result.samples) * 6
    captions = [picture['alt'] for picture in pictures[:6]]
    assert captions == ['image', 'ground truth', 'iss', 'iss: what changed', 'ditta',
                        'ditta: what changed']
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(
        picture['src'].partition(',')[2]), np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    assert {image.shape for image in decoded} == {(12, 16, 3)}
    blue, green, red = decoded[3].astype(int).mean(axis=(0, 1))
    assert red > green > 150 > blue
    assert decoded[5].mean() < 60


def test_losses_of_the_adaptation(score):
    page, _ = page_of(score())
    assert {'ditta: total', 'ditta: contrast'} <= set(page.texts)
    assert 'iss: total' not in page.texts


def test_without_labels_scores_are_dashes(score):
    page, _ = page_of(score(labelled=False))
    assert page.texts.count('\N{EN DASH}') == 2 * 4
    assert 'IoU by class' not in page.texts
    assert 'ground truth' not in page.texts
    assert 'Flicker' in page.texts


def test_several_ratios_have_a_heading_each(score):
    page, _ = page_of(score(0.1), score(0.25), score(1.0))
    assert [text for text in page.texts if text.endswith(('warm-up', 'video'))] == [
        '10 % warm-up', '25 % warm-up', 'Full video']


def test_the_table_of_all_ratios_comes_first(score):
    page, text = page_of(score(0.1), score(0.25), score(1.0))
    table = page.texts[page.texts.index('Scores by warm-up ratio'):page.texts.index('Scores')]
    head = table.index('Ratio')
    assert table[head:head + 8] == ['Ratio', 'Pipeline', 'FPS', 'mIoU', 'wIoU', 'mVC8', 'mVC16',
                                    '10 %']
    assert [cell for cell in table if cell.endswith(' %')] == ['10 %', '25 %', '100 %']
    assert table.count('iss') == table.count('ditta') == 3
    links = [attributes['href'] for attributes in page.find('a')]
    assert links == [f'#{attributes["id"]}' for attributes in page.find('h2')]
    # ditta is right everywhere: the best in all four scores of three blocks.
    rows = re.findall(r'<td class="name">ditta</td>(.*?)</tr>', text)
    assert [row.count('class="best">100.0<') for row in rows] == [4] * 3
    blocks = re.findall(r'<tbody>(.*?)</tbody>', text[:text.index('<h2')])
    assert [block.count('<tr>') for block in blocks] == [2] * 3
    assert 'Scores by warm-up ratio' not in page_of(score(0.1))[0].texts


def test_no_difference_has_no_sign(score):
    result = score()
    _, text = page_of(replace(result, pipelines={
        name: replace(result.pipelines['iss']) for name in result.pipelines}))
    assert '<small class="same">0.0</small>' in text
    assert '+0.0' not in text


def test_says_which_videos_are_left_out(score):
    page, _ = page_of(replace(score(), left_out=('a & b', 'c')))
    assert 'a & b, c, since a pipeline failed' in page.texts
    assert 'Left out' not in page_of(score())[0].texts


FOG, SNOW = Weather('fog', 3), Weather('snow', 5)


def test_scores_by_weather_and_stride_come_first(score):
    results = [score(condition=Condition(weather, stride))
               for stride in (1, 2) for weather in (None, FOG, SNOW)]
    page, _ = page_of(*results)
    table = page.texts[page.texts.index('Scores by weather and stride'):page.texts.index('Scores')]
    rows = [text for text in table if text.endswith((', every frame', ', 1 frame in 2'))]
    # The last is the heading of the first run.
    assert rows[:-1] == [
        'Clean, every frame', 'Fog, severity 3, every frame', 'Snow, severity 5, every frame',
        'Mean over weathers, every frame', 'Clean, 1 frame in 2', 'Fog, severity 3, 1 frame in 2',
        'Snow, severity 5, 1 frame in 2', 'Mean over weathers, 1 frame in 2']
    assert table.count('iss') == table.count('ditta') == 8
    headings = [attributes['id'] for attributes in page.find('h2')]
    assert [attributes['href'] for attributes in page.find('a')] == [f'#{i}' for i in headings]
    assert len(headings) == len(set(headings)) == 6


def test_the_mean_row_leaves_clean_frames_out(score):
    results = [score(condition=Condition(weather)) for weather in (None, FOG, SNOW)]
    page, _ = page_of(*results)
    start = page.texts.index('Mean over weathers, every frame')
    row = page.texts[start:page.texts.index('Scores')]
    fog, snow = (result.pipelines['ditta'].miou for result in results[1:])
    assert row[row.index('ditta') + 1] == f'{50 * (fog + snow):.1f}'
    assert results[0].pipelines['ditta'].miou == 1


def test_one_condition_has_its_name_and_no_table_of_all(score):
    page, _ = page_of(score(condition=Condition(FOG)))
    assert 'Fog, severity 3, every frame' in page.texts
    assert 'Scores by weather and stride' not in page.texts


def test_ratios_and_conditions_together_name_each_run(score):
    page, _ = page_of(*(score(ratio, Condition(weather)) for ratio in (0.1, 0.25)
                        for weather in (FOG, SNOW)))
    table = page.texts[page.texts.index('Scores by weather and stride'):page.texts.index('Scores')]
    assert {'Fog, severity 3, every frame, 25 % warm-up',
            'Mean over weathers, every frame, 25 % warm-up',
            'Mean over weathers, every frame, 10 % warm-up'} <= set(table)


def test_the_frames_are_shown_as_they_were_seen(score, small_video):
    page, _ = page_of(score(condition=Condition(SNOW)))
    seen = cv2.imdecode(np.frombuffer(base64.b64decode(
        page.find('img')[0]['src'].partition(',')[2]), np.uint8), cv2.IMREAD_COLOR)
    index = score(condition=Condition(SNOW)).samples[0].index
    snowy = list(WeatherSource(small_video(30), SNOW, 0))[index].frame.image
    clean = list(small_video(30))[index].frame.image
    difference = [np.abs(seen[..., ::-1].astype(int) - image).mean() for image in (snowy, clean)]
    assert difference[0] < 25 < difference[1]


def test_says_when_mvc_is_of_sparse_labels(score):
    result = score()
    said = 'not every frame is labelled'
    assert not any(said in text for text in page_of(result)[0].texts)
    sparse = replace(result, pipelines={
        name: replace(pipeline, consistency='sparse')
        for name, pipeline in result.pipelines.items()})
    assert any(said in text for text in page_of(sparse)[0].texts)


def test_is_written_whole_or_not_at_all(tmp_path, score):
    result = score()
    write_report(tmp_path / 'report.html', [result], command='vseg demo')
    Page((tmp_path / 'report.html').read_text(encoding='utf-8'))
    assert [path.name for path in tmp_path.iterdir()] == ['report.html']
    with pytest.raises(UserError, match='no folder'):
        write_report(tmp_path / 'missing' / 'report.html', [result], command='vseg demo')


def test_a_line_chart_leaves_gaps_and_fits_its_axis():
    chart = line_chart([Series('loss', [0.0, 0.09, float('nan'), 0.18], 'red')], 'a loss',
                       bands=[Band(0, 2)])
    Page(chart)
    assert re.findall(r'points="([^"]*)"', chart) == ['0,100.00 1,55.00', '3,10.00 3,10.00']
    assert re.findall(r'bottom:[\d.]+%">([^<]*)<', chart) == ['0', '0.05', '0.1', '0.15', '0.2']


@pytest.mark.parametrize('values', [[], [float('nan')], [0.0], [5e-7, 3e-7], [1e6] * 2000])
def test_a_line_chart_of_anything(values):
    chart = line_chart([Series('loss', values, 'red')], 'a loss')
    Page(chart)
    assert 'nan' not in chart
    assert len(re.findall('<span', chart)) < 20

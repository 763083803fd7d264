"""The JSON: its exact form, and nothing half-written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.protocol import evaluate
from vseg_ros.evaluation.results import results_dict, write_results


@pytest.fixture
def score(small_video, seeing_pipeline):
    def run(ratio, frames=30, condition=AS_RECORDED, **options):
        pipelines = {'iss': lambda *_: seeing_pipeline(0), 'ditta': lambda *_: seeing_pipeline()}
        return evaluate([small_video(frames, **options)], pipelines, ratio, source='drive.mcap',
                        seed=7, condition=condition)
    return run


def test_one_ratio_is_flat(tmp_path, score):
    result = score(0.1)
    write_results(tmp_path / 'scores.json', [result])
    read = json.loads((tmp_path / 'scores.json').read_text(encoding='utf-8'))
    iss, ditta = result.pipelines['iss'], result.pipelines['ditta']
    assert read == {
        'source': 'drive.mcap', 'frames': 30, 'warmup': 3, 'seed': 7, 'pipelines': {
            'iss': {'miou': iss.miou, 'wiou': iss.wiou, 'mvc8': 0.0, 'mvc16': 0.0,
                    'fps': iss.fps},
            'ditta': {'miou': 1.0, 'wiou': 1.0, 'mvc8': 1.0, 'mvc16': 1.0, 'fps': ditta.fps}}}
    assert list(read) == ['source', 'frames', 'warmup', 'seed', 'pipelines']
    assert list(read['pipelines']) == ['iss', 'ditta']
    assert list(read['pipelines']['iss']) == ['miou', 'wiou', 'mvc8', 'mvc16', 'fps']


def test_what_could_not_be_measured_is_null(score):
    unlabelled = results_dict([score(0.1, labelled=False)])['pipelines']['iss']
    assert {name for name, value in unlabelled.items() if value is None} == {
        'miou', 'wiou', 'mvc8', 'mvc16'}
    short = results_dict([score(0.1, frames=12)])['pipelines']['iss']
    assert {name for name, value in short.items() if value is None} == {'mvc16'}


def test_several_ratios_extend_the_flat_form(score):
    results = [score(0.1), score(0.5), score(1.0)]
    several = results_dict(results)
    runs = several.pop('runs')
    assert several == results_dict(results[:1])
    assert [list(run) for run in runs] == [['warmup_ratio', 'frames', 'warmup', 'pipelines']] * 3
    assert [(run['warmup_ratio'], run['warmup']) for run in runs] == [
        (0.1, 3), (0.5, 15), (1.0, 30)]
    assert runs[0]['pipelines'] == several['pipelines']


def test_conditions_add_their_keys(score):
    fog, third = Condition(Weather('fog', 3)), Condition(stride=3)
    several = results_dict([score(0.1), score(0.1, condition=fog), score(0.1, condition=third)])
    assert list(several) == ['source', 'frames', 'warmup', 'seed', 'weather', 'stride',
                             'pipelines', 'runs']
    assert [list(run) for run in several['runs']] == [
        ['weather', 'stride', 'warmup_ratio', 'frames', 'warmup', 'pipelines']] * 3
    assert [(run['weather'], run['stride'], run['frames']) for run in several['runs']] == [
        ('clean', 1, 30), ('fog:3', 1, 30), ('clean', 3, 10)]
    assert (several['weather'], several['stride']) == ('clean', 1)
    assert several['runs'][0]['pipelines'] == several['pipelines']
    alone = results_dict([score(0.1, condition=fog)])
    assert (alone['weather'], alone['stride'], 'runs' in alone) == ('fog:3', 1, False)


@pytest.mark.parametrize('form', ['sparse', 'mixed', 'dense', None])
def test_consistency_is_told_where_it_is_not_dense(score, form):
    result = score(0.1)
    result = replace(result, pipelines={
        name: replace(pipeline, consistency=form) for name, pipeline in result.pipelines.items()})
    flat, several = results_dict([result]), results_dict([result, score(0.5)])
    told = form if form in ('sparse', 'mixed') else None
    assert [each.get('consistency') for each in (flat, several, *several['runs'])] == [
        told, told, told, None]
    assert json.dumps(flat)


def test_videos_left_out_are_told(score):
    result = replace(score(0.1), left_out=('other',))
    several = results_dict([result, replace(score(0.5), left_out=('other',))])
    assert several['left_out'] == several['runs'][1]['left_out'] == ['other']
    assert 'left_out' not in results_dict([score(0.1)])


def test_an_unwritable_place_leaves_nothing(tmp_path, score):
    with pytest.raises(UserError, match='no folder'):
        write_results(tmp_path / 'missing' / 'scores.json', [score(0.1)])
    assert not list(tmp_path.iterdir())

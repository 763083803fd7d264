"""Sweeps and ablations: which pipelines run, under which names and settings."""

from __future__ import annotations

import pytest

from vseg_ros.errors import UserError
from vseg_ros.evaluation.variants import ABLATIONS, Sweep, make_variants, read_sweep


def names(*arguments, **options):
    return [variant.name for variant in make_variants(*arguments, **options)]


def test_without_a_sweep_names_are_those_of_the_pipelines():
    variants = make_variants(['iss', 'ditta'], None, ['seed=3'])
    assert [(each.name, each.pipeline, each.settings.seed) for each in variants] == [
        ('iss', 'iss', 3), ('ditta', 'ditta', 3)]


def test_each_value_is_a_variant_of_the_pipelines_that_know_the_setting():
    variants = make_variants(['iss', 'ditta'], None, ['fusion.tau=0.3'],
                             [read_sweep('fusion.tau=0, 0.5,0.8,0.5')])
    assert [variant.name for variant in variants] == [
        'iss', 'ditta[fusion.tau=0]', 'ditta[fusion.tau=0.5]', 'ditta[fusion.tau=0.8]']
    assert [variant.settings.fusion.tau for variant in variants[1:]] == [0, 0.5, 0.8]


def test_several_sweeps_make_every_combination():
    sweeps = [Sweep('fusion.tau', ('0', '1')), Sweep('vote.lambda_area', ('0.3', '0.6'))]
    variants = make_variants(['ditta'], None, [], sweeps)
    assert [(each.settings.fusion.tau, each.settings.vote.lambda_area) for each in variants] == [
        (0, 0.3), (0, 0.6), (1, 0.3), (1, 0.6)]
    assert variants[1].name == 'ditta[fusion.tau=0, vote.lambda_area=0.6]'


def test_ablation_is_table_2_and_its_complement():
    rows = {each.name: each.settings for each in
            make_variants(['iss'], None, [], ablations=['ditta']) if each.pipeline == 'ditta'}
    components = {name: (settings.fusion.tau > 0, settings.adaptation.targets == 'tracks',
                         settings.adaptation.contrastive > 0) for name, settings in rows.items()}
    assert components == {
        'ditta': (True, True, True), 'ditta[no add-on]': (False, True, True),
        'ditta[no targets]': (True, False, True), 'ditta[no contrastive]': (True, True, False),
        'ditta[add-on alone]': (True, False, False), 'ditta[targets alone]': (False, True, False),
        'ditta[contrastive alone]': (False, False, True)}
    assert all(settings.adaptation.distillation > 0 for settings in rows.values())


def test_ablation_and_sweep_together():
    told = names(['ditta'], None, [], [Sweep('seed', ('1', '2'))], ['ditta'])
    assert len(told) == len(set(told)) == 2 * len(ABLATIONS['ditta'])
    assert 'ditta[no add-on, seed=2]' in told


@pytest.mark.parametrize('text', ['fusion.tau', '=1', 'fusion.tau=', 'fusion.tau=1,,2'])
def test_a_sweep_of_another_form(text):
    with pytest.raises(UserError, match='NAME=VALUE,VALUE'):
        read_sweep(text)


@pytest.mark.parametrize(('sweeps', 'ablations', 'said'), [
    (['fusion.tua=1'], [], "did you mean 'fusion.tau'"), (['fusion.tau=7'], [], '0 to 1'),
    (['fusion.tau=1', 'fusion.tau=0'], [], 'twice'),
    (['clip_length=4'], [], 'none of the pipelines iss, ditta has'), ([], ['iss'], 'of ditta')])
def test_mistakes_are_told(sweeps, ablations, said):
    with pytest.raises(UserError, match=said):
        make_variants(['iss', 'ditta'], None, [], [read_sweep(text) for text in sweeps], ablations)

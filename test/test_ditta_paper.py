"""The paper's settings of DiTTA, where they are not the defaults."""

from __future__ import annotations

from pathlib import Path

from vseg_ros.settings import DittaSettings
from vseg_ros.settings_reading import (
    dotted_fields,
    load_pipeline_settings,
    load_settings,
    read_values,
)

FILE = Path(__file__).parents[1] / 'config' / 'ditta_paper.yaml'


def test_it_loads_for_every_pipeline_of_the_table() -> None:
    settings = load_pipeline_settings(('iss', 'ditta'), FILE)
    assert settings['iss'].input_size == settings['ditta'].input_size == 480
    paper = load_settings(DittaSettings, FILE)
    assert (paper.adaptation.loss, paper.adaptation.soft_labels, paper.adaptation.rarity) == (
        'released', 0, 0)
    assert (paper.adaptation.loss_stride, paper.adaptation.batch_norm,
            paper.adaptation.decoder_steps, paper.adaptation.averaged_share) == (1, 'batch', 0, 0)
    assert (paper.precision, paper.adaptation.precision) == ('float32', 'float32')
    assert (paper.fusion.memory, paper.tracker) == ('plain', 'sam2-hiera-large')
    # at 50 % of the longest video of VSPW no frame is left out
    assert paper.with_warmup_frames(500).warmup.max_frames >= 500


def test_the_rest_are_the_papers_values_already() -> None:
    """Sec. 4.3 and the supplement; a default that moves must be written into the file."""
    paper = load_settings(DittaSettings, FILE)
    adaptation = paper.adaptation
    assert (adaptation.learning_rate, adaptation.passes, adaptation.momentum,
            adaptation.temperature) == (1e-3, 5, 0.99, 1)
    assert (adaptation.distillation, adaptation.contrastive, adaptation.targets) == (
        1, 1, 'tracks')
    assert (paper.fusion.tau, paper.fusion.radius) == (0.8, 5)
    assert (paper.vote.lambda_area, paper.vote.lambda_freq) == (0.3, 0.8)
    assert (paper.prompts.max_objects, paper.prompts.min_reliability, paper.prompts.margin) == (
        100, 0.8, 5)


def test_every_line_changes_a_default() -> None:
    values = read_values(FILE, [])
    defaults = {name: field.default for name, field in dotted_fields(DittaSettings)}
    assert not [name for name, value in values.items() if value == defaults[name]]

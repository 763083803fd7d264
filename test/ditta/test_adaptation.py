"""The adaptation loop: one step spelled out (Eq. 8), then its ends."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.ditta.adaptation import (
    AdaptationCancelledError,
    AdaptationResult,
    WarmupSample,
    adapt,
    decoder_rate,
)
from vseg_ros.ditta.contrastive import Prototypes, contrastive_loss, sized_features
from vseg_ros.ditta.model import DittaModel
from vseg_ros.models.reliability import reliability, upsample
from vseg_ros.models.segmenter import Decoded, Features
from vseg_ros.settings import AdaptationSettings

CHANNELS, WIDTH, CLASSES, HEIGHT, COLUMNS = 5, 8, 3, 6, 9
IGNORE = 255


class PlainDecoder(nn.Module):
    """The smallest decoder with batch normalisation and no dropout."""

    embedding_width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(CHANNELS, WIDTH, 1)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.classifier = nn.Conv2d(WIDTH, CLASSES, 1)

    def forward(self, features: Features) -> Decoded:
        embedding = self.norm(self.fuse(features[0])).relu()
        return Decoded(embedding, self.classifier(embedding))


def new_model() -> DittaModel:
    torch.manual_seed(0)
    return DittaModel(PlainDecoder(), radius=1).double()


def random_samples(count: int) -> list[WarmupSample]:
    generator = torch.Generator().manual_seed(1)
    samples = []
    for _ in range(count):
        objects = torch.randint(3, (2 * HEIGHT, 2 * COLUMNS), generator=generator)
        label = torch.randint(CLASSES, (2 * HEIGHT, 2 * COLUMNS), generator=generator)
        label[0] = IGNORE
        features = torch.randn(1, CHANNELS, HEIGHT, COLUMNS, generator=generator,
                               dtype=torch.float64)
        samples.append(WarmupSample((features,), label, objects))
    return samples


def equal_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def literal_adaptation(model: DittaModel, samples: Sequence[WarmupSample],
                       settings: AdaptationSettings, weights: Tensor | None,
                       ) -> list[dict[str, float]]:
    """Eq. 8, step by step, with everything written out."""
    model.train()
    model.decoder.norm.train(settings.batch_norm == 'batch')
    momentum = copy.deepcopy(model)
    steps = settings.passes * len(samples)
    slower = settings.decoder_steps / steps if 0 < settings.decoder_steps < steps else 1
    optimizer = torch.optim.AdamW([
        {'params': [each], 'lr': settings.learning_rate
         * (slower if name.startswith('decoder.') else 1)}
        for name, each in model.named_parameters()], betas=(0.9, 0.999))
    prototypes, history, visited = Prototypes(), [], []

    source = copy.deepcopy(model.decoder).eval()

    def distill(logits: Tensor, sample: WarmupSample) -> Tensor:
        label, share = sample.label, settings.soft_labels
        scores = upsample(logits, (label.shape[0], label.shape[1]))
        if settings.loss == 'released':
            scores = scores.softmax(1)
        losses = F.cross_entropy(scores, label[None], weights, ignore_index=IGNORE,
                                 reduction='none')[0]
        with torch.no_grad():
            before = upsample(source(sample.features).logits, label.shape).softmax(1)
        soft = -(before * scores.log_softmax(1)).sum(1)[0]
        agrees = before[0].argmax(0) == label
        return torch.where(agrees, (1 - share) * losses + share * soft, losses).mean()

    for _ in range(settings.passes):
        for index, sample in enumerate(samples):
            before = samples[index - 1].features if index else None
            size = (sample.label.shape[0], sample.label.shape[1])
            branches = model(sample.features, before)
            losses = {'distill': distill(branches.plain, sample)}
            if index:
                losses['distill_addon'] = distill(branches.temporal, sample)
            with torch.no_grad():
                kept = momentum(sample.features, before)
                sure = reliability(upsample(kept.plain, size).log_softmax(1))[0]
                ids, vectors = prototypes.update(sized_features(kept.features, size), sure,
                                                 sample.objects)
            losses['contrastive'] = contrastive_loss(
                sized_features(branches.features, size), sample.objects, ids, vectors,
                settings.temperature)
            losses['total'] = (
                settings.distillation * (losses['distill'] + losses.get('distill_addon', 0))
                + settings.contrastive * losses['contrastive'])
            optimizer.zero_grad()
            losses['total'].backward()
            optimizer.step()
            with torch.no_grad():
                for old, new in zip(momentum.parameters(), model.parameters(), strict=True):
                    old.copy_(settings.momentum * old + (1 - settings.momentum) * new)
            history.append({name: loss.item() for name, loss in losses.items()})
            visited.append([each.detach().clone() for each in model.parameters()])
    averaged = round(settings.averaged_share * steps)
    if averaged:
        with torch.no_grad():
            for number, each in enumerate(model.parameters()):
                each.copy_(sum(weights[number] for weights in visited[-averaged:]) / averaged)
    return history


@pytest.mark.parametrize(('decoder_steps', 'averaged_share'), [
    (0, 0.0), (4, 0.3), (9, 0.0), (9, 1.0)])
@pytest.mark.parametrize('batch_norm', ['batch', 'frozen'])
@pytest.mark.parametrize(('loss', 'weights', 'soft_labels'), [
    ('logits', None, 0.0), ('released', None, 0.0), ('logits', (0.5, 2.0, 1.0), 0.0),
    ('logits', None, 0.9), ('logits', (0.5, 2.0, 1.0), 0.3)])
def test_adaptation_is_equation_8_step_by_step(
        loss: str, weights: tuple[float, ...] | None, soft_labels: float, batch_norm: str,
        decoder_steps: int, averaged_share: float) -> None:
    settings = AdaptationSettings(passes=3, loss=loss, momentum=0.7, temperature=0.5,
                                  soft_labels=soft_labels, batch_norm=batch_norm,
                                  decoder_steps=decoder_steps, averaged_share=averaged_share)
    ours, literal = new_model(), new_model()
    weighted = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    result = adapt(ours, random_samples(3), settings, IGNORE, class_weights=weighted)
    history = literal_adaptation(literal, random_samples(3), settings, weighted)
    assert len(result.history) == 9
    for step, expected in zip(result.history, history, strict=True):
        assert step == pytest.approx(expected, rel=1e-6)
    assert [set(step) for step in result.history[:2]] == [
        {'distill', 'contrastive', 'total'},
        {'distill', 'distill_addon', 'contrastive', 'total'}]
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, literal.state_dict()[name])


def test_adaptation_learns_and_leaves_a_model_for_inference() -> None:
    model = new_model()
    samples = [WarmupSample(sample.features, sample.features[0][0, :CLASSES].argmax(0),
                            sample.objects[::2, ::2]) for sample in random_samples(2)]
    result = adapt(model, samples, AdaptationSettings(passes=25), IGNORE)
    assert result.model is model
    assert not result.rolled_back
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    for name, loss in result.history[1].items():
        assert result.history[-1][name] < loss


@pytest.mark.parametrize('batch_norm', ['batch', 'frozen'])
def test_mixed_precision_is_near_the_exact_one(batch_norm: str) -> None:
    """Weights stay exact, and so do the losses made of what the networks say."""
    settings = AdaptationSettings(passes=2, batch_norm=batch_norm, loss_stride=1)
    samples = [WarmupSample(tuple(level.float() for level in sample.features), sample.label,
                            sample.objects) for sample in random_samples(3)]
    runs = {mixed: adapt(new_model().float(), samples, settings, IGNORE, mixed=mixed)
            for mixed in (None, torch.float32, torch.bfloat16)}
    assert runs[None].history == runs[torch.float32].history
    assert runs[torch.bfloat16].history != runs[None].history
    assert all(value.dtype == torch.float32
               for value in runs[torch.bfloat16].model.parameters())
    for exact, near in zip(runs[None].history, runs[torch.bfloat16].history, strict=True):
        assert near == pytest.approx(exact, rel=0.05)


def test_many_steps_lead_the_decoder_no_farther_than_few() -> None:
    settings = AdaptationSettings(decoder_steps=80)
    assert [decoder_rate(settings, steps) for steps in (0, 30, 80, 160, 800)] == pytest.approx(
        [1e-3, 1e-3, 1e-3, 5e-4, 1e-4])
    free = AdaptationSettings(decoder_steps=0)
    assert [decoder_rate(free, steps) for steps in (0, 30, 800)] == [1e-3] * 3


def test_progress_grows_to_one() -> None:
    shares: list[float] = []
    adapt(new_model(), random_samples(4), AdaptationSettings(passes=2), IGNORE,
          progress=shares.append)
    assert shares == pytest.approx([i / 8 for i in range(1, 9)])


def test_batch_normalisation_can_be_frozen() -> None:
    for mode, moves in (('batch', True), ('frozen', False)):
        model = new_model()
        before = model.decoder.norm.running_var.clone()
        adapt(model, random_samples(2), AdaptationSettings(passes=1, batch_norm=mode), IGNORE)
        assert bool((model.decoder.norm.running_var != before).any()) == moves


def adapt_until_poisoned(passes: int, good_steps: int, poison: float) -> tuple[
        DittaModel, AdaptationResult]:
    """Features of the second sample turn bad after so many steps."""
    samples = random_samples(2)
    steps = 0

    def spoil(share: float) -> None:
        nonlocal steps
        steps += 1
        if steps == good_steps:
            samples[1].features[0][0, 0, 2, 2] = poison
    model = new_model()
    return model, adapt(model, samples, AdaptationSettings(passes=passes), IGNORE,
                        progress=spoil)


@pytest.mark.parametrize('poison', [float('nan'), float('inf')])
def test_numbers_that_are_not_finite_roll_back_to_the_last_good_pass(poison: float) -> None:
    model, result = adapt_until_poisoned(passes=5, good_steps=5, poison=poison)
    assert result.rolled_back
    assert len(result.history) == 5
    expected = new_model()
    adapt(expected, random_samples(2), AdaptationSettings(passes=2), IGNORE)
    assert equal_weights(model, expected)
    assert not model.training


def test_a_last_pass_that_fails_is_not_averaged() -> None:
    model, result = adapt_until_poisoned(passes=5, good_steps=9, poison=float('nan'))
    assert result.rolled_back
    expected = new_model()
    adapt(expected, random_samples(2), AdaptationSettings(passes=4, averaged_share=0), IGNORE)
    assert equal_weights(model, expected)


def test_a_first_pass_that_fails_leaves_the_weights_as_they_were() -> None:
    model, result = adapt_until_poisoned(passes=5, good_steps=1, poison=float('nan'))
    assert result.rolled_back
    assert equal_weights(model, new_model())


def test_a_step_that_is_not_finite_is_rolled_back_though_its_loss_was() -> None:
    model = new_model()
    model.decoder.classifier.weight.register_hook(lambda slope: slope * float('inf'))
    result = adapt(model, random_samples(2), AdaptationSettings(), IGNORE)
    assert result.rolled_back
    assert not result.history
    assert equal_weights(model, new_model())


def test_cancelling_stops_before_the_next_step() -> None:
    shares: list[float] = []
    with pytest.raises(AdaptationCancelledError):
        adapt(new_model(), random_samples(4), AdaptationSettings(), IGNORE,
              progress=shares.append, cancelled=lambda: len(shares) == 3)
    assert len(shares) == 3


def test_samples_are_left_as_they_were() -> None:
    samples, expected = random_samples(2), random_samples(2)
    adapt(new_model(), samples, AdaptationSettings(passes=1), IGNORE)
    for sample, other in zip(samples, expected, strict=True):
        assert torch.equal(sample.features[0], other.features[0])
        assert torch.equal(sample.label, other.label)
        assert torch.equal(sample.objects, other.objects)


def changed(before: DittaModel, after: DittaModel) -> set[str]:
    """Parts of a model that adaptation moved."""
    old = dict(before.named_parameters())
    return {name.partition('.')[0] for name, value in after.named_parameters()
            if not torch.equal(value, old[name])}


@pytest.mark.parametrize(('values', 'temporal', 'names', 'moved'), [
    ({}, True, {'distill', 'distill_addon', 'contrastive'}, {'decoder', 'addon', 'projection'}),
    ({'contrastive': 0}, True, {'distill', 'distill_addon'}, {'decoder', 'addon'}),
    ({'distillation': 0}, True, {'contrastive'}, {'decoder', 'projection'}),
    ({}, False, {'distill', 'contrastive'}, {'decoder', 'projection'}),
    ({'contrastive': 0}, False, {'distill'}, {'decoder'}),
    ({'contrastive': 0, 'distillation': 0}, True, set(), set())])
def test_what_is_ablated_is_left_out(values: dict[str, float], temporal: bool, names: set[str],
                                     moved: set[str]) -> None:
    settings = AdaptationSettings.model_validate({'passes': 2, **values})
    model = new_model()
    # weight decay moves what has a gradient of zero, too
    result = adapt(model, random_samples(3), settings, IGNORE, temporal=temporal)
    assert set().union(*map(set, result.history)) == names | ({'total'} if names else set())
    assert changed(new_model(), model) == moved
    assert not model.training


def test_weights_of_the_losses_are_those_of_the_total() -> None:
    settings = AdaptationSettings(passes=1, distillation=0.5, contrastive=3)
    history = adapt(new_model(), random_samples(2), settings, IGNORE).history
    for step in history:
        parts = {name: loss for name, loss in step.items() if name != 'total'}
        expected = sum((3 if name == 'contrastive' else 0.5) * loss
                       for name, loss in parts.items())
        assert step['total'] == pytest.approx(expected)


@pytest.mark.parametrize('soft_labels', [0.0, 0.9])
def test_targets_can_be_the_segmenters_own(soft_labels: float) -> None:
    own = new_model().decoder.eval()
    samples = [WarmupSample(
        each.features, upsample(own(each.features).logits, each.label.shape).argmax(1)[0].detach(),
        each.objects) for each in random_samples(2)]
    settings = AdaptationSettings(passes=2, contrastive=0, soft_labels=soft_labels)
    taught, alone = new_model(), new_model()
    adapt(taught, samples, settings, IGNORE)
    adapt(alone, random_samples(2), settings.model_copy(update={'targets': 'segmenter'}), IGNORE)
    assert equal_weights(taught, alone)
    adapt(alone := new_model(), random_samples(2), settings, IGNORE)
    assert not equal_weights(taught, alone)

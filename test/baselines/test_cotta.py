"""CoTTA: each equation slowly, and a whole step of Algorithm 1 spelled out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.baselines.augmented_labels import (
    SCALES,
    augmented_probabilities,
    choose_labels,
)
from vseg_ros.baselines.cotta import CottaLearner, average_teacher, restore_weights
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import CottaSettings

Images = Callable[[int], NDArray[np.uint8]]
SIZE = 64, 96


def probabilities(segmenter: ImageSegmenter, image: np.ndarray) -> Tensor:
    logits = segmenter(torch.from_numpy(np.ascontiguousarray(image))[None]).logits
    return nn.functional.interpolate(logits, SIZE, mode='bilinear').softmax(1)


def literal_average(segmenter: ImageSegmenter, image: np.ndarray, largest: float) -> Tensor:
    """Eq. 3, one augmentation after the other."""
    seen = []
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0):
        if scale > largest:
            continue
        height, width = (round(side * scale / 32) * 32 for side in SIZE)
        smaller = height * width < SIZE[0] * SIZE[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        scaled = cv2.resize(image, (width, height), interpolation=method)
        for mirror in (False, True):
            shown = cv2.flip(scaled, 1) if mirror else scaled
            answer = probabilities(segmenter, shown)
            seen.append(torch.from_numpy(answer.numpy()[..., ::-1].copy()) if mirror else answer)
    return torch.stack(seen).mean(0)


@torch.no_grad()
@pytest.mark.parametrize('largest', [0.5, 1.0, 2.0])
def test_probabilities_are_averaged_over_scales_and_mirrors(
        new_labeller: Callable[..., ImageLabeller], largest: float, moving_image: Images) -> None:
    segmenter = new_labeller().segmenter
    image = moving_image(2)
    ours = augmented_probabilities(segmenter, image, largest)
    torch.testing.assert_close(ours, literal_average(segmenter, image, largest))
    torch.testing.assert_close(ours.sum(1), torch.ones(1, *SIZE))
    assert len(SCALES) == 7


def test_only_unsure_pixels_take_the_average() -> None:
    plain, averaged = torch.rand(1, 3, 2, 4), torch.rand(1, 3, 2, 4)
    confidence = torch.tensor([[[0.1, 0.9, 0.69, 0.7], [0.68, 1.0, 0.0, 0.5]]])
    chosen = choose_labels(plain, averaged, confidence, 0.69)
    for row in range(2):
        for column in range(4):
            expected = plain if float(confidence[0, row, column]) > 0.69 else averaged
            assert torch.equal(chosen[0, :, row, column], expected[0, :, row, column])


def test_teacher_is_an_exponential_average() -> None:
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = [0.9 * old + 0.1 * new for old, new in
                zip(teacher.weight.flatten().tolist(), student.weight.flatten().tolist(),
                    strict=True)]
    average_teacher(teacher, student, 0.9)
    assert teacher.weight.flatten().tolist() == pytest.approx(expected)


def test_a_share_of_the_weights_is_restored_exactly() -> None:
    source, student = nn.Linear(100, 100), nn.Linear(100, 100)
    student.bias.requires_grad_(False)
    live, bias = student.weight.detach().clone(), student.bias.detach().clone()
    restore_weights(student, source, 0.3, torch.Generator().manual_seed(4))
    drawn = torch.rand(100, 100, generator=torch.Generator().manual_seed(4))
    for index, (new, old, back, chance) in enumerate(zip(
            *(each.flatten().tolist() for each in (student.weight, live, source.weight, drawn)),
            strict=True)):
        assert new == (back if chance < 0.3 else old), index
    assert torch.equal(student.bias, bias)
    assert 0.25 < float((drawn < 0.3).float().mean()) < 0.35


@pytest.mark.parametrize('steps', [1, 2])
def test_steps_are_algorithm_1(new_labeller: Callable[..., ImageLabeller], steps: int,
                               moving_image: Images) -> None:
    labeller = new_labeller()
    settings = CottaSettings.model_validate({'seed': 3, 'cotta': {
        'learning_rate': 0.01, 'steps': steps, 'momentum': 0.8, 'restore': 0.2,
        'threshold': 0.9, 'largest_scale': 1.0}})
    learner = CottaLearner(labeller, settings)
    source, teacher, student = (copy.deepcopy(labeller.segmenter) for _ in range(3))
    optimizer = torch.optim.Adam(student.requires_grad_(True).parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(3)
    mixed = 0
    for index in range(2):
        image = moving_image(index)
        learned = learner.learn(image)
        for step in range(steps):
            with torch.no_grad():
                sure = probabilities(source, image).amax(1) > 0.9
                label = torch.where(sure[:, None], probabilities(teacher, image),
                                    literal_average(teacher, image, 1.0))
                mixed += bool(sure.any()) and not bool(sure.all())
            logits = student(torch.from_numpy(image)[None]).logits
            sized = nn.functional.interpolate(logits, SIZE, mode='bilinear')
            picked = sized.log_softmax(1).gather(1, label.argmax(1, keepdim=True))
            loss = -picked.mean()
            assert learned.losses[step] == pytest.approx(float(loss.detach()), rel=1e-3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for kept, live, old in zip(teacher.parameters(), student.parameters(),
                                           source.parameters(), strict=True):
                    kept.copy_(0.8 * kept + 0.2 * live)
                    mask = (torch.rand(live.shape, generator=generator) < 0.2).float()
                    live.copy_(mask * old + (1 - mask) * live)
        torch.testing.assert_close(learned.logits.exp(), label, rtol=1e-3, atol=1e-3)
    assert mixed == 2 * steps
    for ours, literal in ((learner.teacher, teacher), (learner.student, student)):
        for value, expected in zip(ours.parameters(), literal.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-2, atol=2e-3)


def test_where_the_segmenter_is_sure_nothing_is_averaged(
        new_labeller: Callable[..., ImageLabeller], moving_image: Images) -> None:
    learner = CottaLearner(new_labeller(), CottaSettings.model_validate(
        {'cotta': {'threshold': 0.0}}))
    image = moving_image(0)
    with torch.no_grad():
        assert torch.equal(learner.pseudo_label(image), probabilities(learner.teacher, image))


def test_the_decoder_alone_can_learn(new_labeller: Callable[..., ImageLabeller],
                                     moving_image: Images) -> None:
    labeller = new_labeller()
    learner = CottaLearner(labeller, CottaSettings.model_validate(
        {'cotta': {'part': 'decoder', 'learning_rate': 0.01, 'largest_scale': 0.5}}))
    learner.learn(moving_image(0))
    for ours, theirs in ((learner.student.backbone, labeller.segmenter.backbone),
                         (learner.teacher.backbone, labeller.segmenter.backbone)):
        assert all(torch.equal(a, b) for a, b in
                   zip(ours.parameters(), theirs.parameters(), strict=True))
    changed = [not torch.equal(a, b) for a, b in
               zip(learner.student.decoder.parameters(), labeller.segmenter.decoder.parameters(),
                   strict=True)]
    assert sum(changed) > len(changed) / 2

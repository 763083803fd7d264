"""From logits to labels: against upsample, softmax, argmax and entropy spelled out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vseg_ros.frame import Frame
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.models import labelling
from vseg_ros.models.labelling import (
    InputSize,
    resize_image,
    score_pixels,
    to_segmentation,
)
from vseg_ros.models.reliability import upsample

SmoothLogits = Callable[[int, int, int], Tensor]


@pytest.mark.parametrize(('classes', 'cells', 'size'), [
    (15, (12, 20), (48, 80)), (2, (5, 7), (33, 50)), (300, (4, 5), (16, 20))])
def test_scores_are_the_literal_ones(
        smooth_logits: SmoothLogits, classes: int, cells: tuple[int, int],
        size: tuple[int, int]) -> None:
    logits = smooth_logits(classes, *cells)
    scored = score_pixels(logits, size)
    literal = upsample(logits.double(), size)[0]
    log_probabilities = literal.log_softmax(0)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(0)
    assert scored.labels.shape == scored.entropy.shape == size
    assert scored.labels.dtype == (torch.uint8 if classes <= 255 else torch.int16)
    best_two = literal.topk(2, 0).values
    clear = best_two[0] - best_two[1] > 1e-4
    assert clear.float().mean() > 0.99
    assert (scored.labels == literal.argmax(0))[clear].all()
    torch.testing.assert_close(scored.entropy, entropy.float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(scored.scores, literal.float())
    torch.testing.assert_close(scored.reliability, (1 - entropy / entropy.max()).float(),
                               rtol=0, atol=1e-5)


def test_the_best_score_always_wears_the_label(smooth_logits: SmoothLogits) -> None:
    logits = smooth_logits(4, 6, 6).round()
    scored = score_pixels(logits, (24, 24))
    taken = scored.scores.gather(0, scored.labels[None].long())[0]
    assert (taken >= scored.scores.amax(0) - 1e-5).all()


def test_huge_scores_stay_finite(smooth_logits: SmoothLogits) -> None:
    scored = score_pixels(1e4 * smooth_logits(5, 6, 6), (24, 24))
    assert torch.isfinite(scored.entropy).all()
    assert ((scored.reliability >= 0) & (scored.reliability <= 1)).all()


@pytest.mark.parametrize(('wanted', 'frame', 'expected'), [
    (360, (720, 1280), (352, 640)), (360, (1280, 720), (640, 352)), (0, (720, 1280), (704, 1280)),
    (4096, (480, 640), (480, 640)), (360, (9, 7), (32, 32)), (100, (100, 5000), (96, 4992))])
def test_input_size(wanted: int, frame: tuple[int, int], expected: tuple[int, int]) -> None:
    assert InputSize(wanted, 32).of(frame) == expected


@given(st.integers(0, 4096), st.sampled_from([14, 32]), st.integers(1, 3000),
       st.integers(1, 3000))
def test_input_sizes_are_multiples_near_the_frame(
        wanted: int, multiple: int, height: int, width: int) -> None:
    found = InputSize(wanted, multiple).of((height, width))
    assert all(side % multiple == 0 and side >= multiple for side in found)
    assert all(side <= max(of + multiple / 2, multiple)
               for side, of in zip(found, (height, width), strict=True))


def test_resizing_averages_where_it_shrinks() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    assert np.ptp(resize_image(image, (16, 16)).astype(int)) <= 1
    assert resize_image(image, (64, 64)) is image
    assert resize_image(image, (96, 128)).shape == (96, 128, 3)


@pytest.mark.parametrize('size', [(48, 80), (108, 192), (47, 83)])
@pytest.mark.parametrize('classes', [15, 300])
def test_a_gpu_brings_the_same_to_the_size_of_the_frame(
        smooth_logits: SmoothLogits, size: tuple[int, int], classes: int) -> None:
    scored = score_pixels(smooth_logits(classes, 12, 20), (48, 80))
    labels, confidence = labelling._enlarged(scored, scored.reliability, size)
    theirs, steps = labelling._enlarged_on_device(scored, scored.reliability, size)
    assert theirs.shape == steps.shape == labels.shape == size
    assert theirs.dtype == labels.dtype
    assert steps.dtype == confidence.dtype == np.float32
    assert (theirs == labels).mean() > 0.999
    # half a step, and the fixed point arithmetic of OpenCV
    assert np.abs(steps - confidence).max() < 0.6 / 255
    np.testing.assert_allclose(steps * 255, (steps * 255).round(), atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu(smooth_logits: SmoothLogits) -> None:
    logits = smooth_logits(15, 90, 160)
    frame = Frame(np.zeros((720, 1280, 3), np.uint8), 5, 'camera')
    found, expected = (
        to_segmentation(scored, scored.reliability, frame, DRIVING) for scored in
        (score_pixels(each, (360, 640)) for each in (logits.cuda(), logits)))
    assert (found.labels == expected.labels).mean() > 0.999
    assert np.abs(found.confidence - expected.confidence).max() < 0.6 / 255


@pytest.mark.parametrize('size', [(32, 48), (75, 100)])
def test_segmentation_has_the_size_and_header_of_the_frame(
        smooth_logits: SmoothLogits, size: tuple[int, int]) -> None:
    scored = score_pixels(smooth_logits(15, 8, 12), (32, 48))
    frame = Frame(np.zeros((*size, 3), np.uint8), 9, 'camera')
    found = to_segmentation(scored, scored.reliability, frame, DRIVING)
    assert found.labels.shape == found.confidence.shape == size
    assert (found.stamp, found.frame_id, found.label_set) == (9, 'camera', DRIVING)
    assert found.labels.dtype == np.uint8
    assert 0 <= found.confidence.min() < 0.1 < 0.9 < found.confidence.max() <= 1


@pytest.mark.parametrize('size', [(16, 20), (40, 30)])
def test_many_classes_keep_their_ids(size: tuple[int, int]) -> None:
    logits = torch.zeros(1, 300, 4, 5)
    logits[:, 299] = 9
    scored = score_pixels(logits, (16, 20))
    frame = Frame(np.zeros((*size, 3), np.uint8))
    label_set = LabelSet.from_names([str(i) for i in range(300)])
    found = to_segmentation(scored, scored.reliability, frame, label_set)
    assert found.labels.dtype == np.uint16
    assert (found.labels == 299).all()

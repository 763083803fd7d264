"""Grouped classes: the equation, every way a decoder is run, and adaptation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import SegformerForSemanticSegmentation

from vseg_ros.class_maps import ClassMap
from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.class_groups import ABSENT, ClassGroups, GroupedDecoder, group_classes
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import FoldedSegformerDecoder, adapt_segformer
from vseg_ros.models.segmenter import ImageSegmenter

NAMES = ('road', 'sky', 'car', 'lamp post', 'tree')
GROUPS = [[3, 1, 4], [], [2]]
SCENERY = ClassMap('scenery', 'own', 'own', LabelSet.from_names(('scenery', 'sea', 'car')),
                   {'scenery': ('Lamp_Post', 'sky', 'tree'), 'car': ('car',)}, {})


def slow_groups(logits: Tensor) -> Tensor:
    """Take the largest of a group's logits, pixel by pixel."""
    batch, _, height, width = logits.shape
    grouped = torch.empty(batch, len(GROUPS), height, width)
    for image in range(batch):
        for target, group in enumerate(GROUPS):
            for y in range(height):
                for x in range(width):
                    highest = ABSENT
                    for source in group:
                        highest = max(highest, float(logits[image, source, y, x]))
                    grouped[image, target, y, x] = highest
    return grouped


@pytest.fixture
def plain(make_hf_segformer: Callable[[], SegformerForSemanticSegmentation]) -> ImageSegmenter:
    segmenter = adapt_segformer(make_hf_segformer(), LabelSet.from_names(NAMES))
    return segmenter.eval().requires_grad_(False)


@pytest.fixture
def grouped(plain: ImageSegmenter) -> ImageSegmenter:
    return group_classes(copy.deepcopy(plain), SCENERY)


def test_groups_equal_a_search_pixel_by_pixel() -> None:
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ClassGroups(GROUPS)(logits), slow_groups(logits), rtol=0, atol=0)


def test_a_class_that_nothing_means_has_no_probability_in_any_number_format() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        grouped = ClassGroups(GROUPS)(torch.randn(1, 5, 2, 2).to(dtype))
        probabilities = grouped.softmax(1)
        assert (probabilities[:, 1] == 0).all()
        # an entropy is a number
        assert torch.isfinite((probabilities * grouped.log_softmax(1)).sum())


def test_gradients_reach_the_largest_member_alone() -> None:
    logits = torch.tensor([1., 5., 2., 4., 3.]).view(1, 5, 1, 1).requires_grad_()
    (ClassGroups(GROUPS)(logits) * torch.tensor([7., 1., 2.]).view(1, 3, 1, 1)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == [0, 7, 2, 0, 0]


def test_a_segmenter_speaks_the_target_classes(plain: ImageSegmenter, grouped: ImageSegmenter,
                                               make_image: Callable[..., np.ndarray]) -> None:
    images = torch.from_numpy(make_image())[None]
    expected = plain(images)
    found = grouped(images)
    assert grouped.label_set == SCENERY.target
    torch.testing.assert_close(found.logits, slow_groups(expected.logits), rtol=0, atol=0)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=0, atol=0)
    assert grouped.decoder.embedding_width == plain.decoder.embedding_width
    assert grouped.state_dict().keys() == {
        name.replace('decoder.', 'decoder.decoder.', 1) if name.startswith('decoder.') else name
        for name in plain.state_dict()}


def test_it_folds(grouped: ImageSegmenter, make_image: Callable[..., np.ndarray]) -> None:
    assert isinstance(grouped.decoder, GroupedDecoder)
    folded = grouped.decoder.fold()
    assert isinstance(folded.decoder, FoldedSegformerDecoder)
    features = grouped.encode(torch.from_numpy(make_image())[None])
    expected = grouped.decode(features)
    for one, other in zip(folded(features), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_decoders_that_cannot_fold_are_grouped_too(ocrnet: ImageSegmenter,
                                                   make_image: Callable[..., np.ndarray]) -> None:
    image = make_image()
    expected = slow_groups(ocrnet(torch.from_numpy(image)[None]).logits)
    grouped = group_classes(copy.deepcopy(ocrnet), SCENERY)
    found = TorchRuntime(grouped, torch.device('cpu')).infer(image).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_load_by_name(make_hf_segformer: Callable[[], SegformerForSemanticSegmentation],
                      tmp_path: Path) -> None:
    model = make_hf_segformer()
    model.save_pretrained(tmp_path / 'folder')
    with pytest.raises(UserError, match=r"for segmenters with the 19 classes of cityscapes, but "
                                        r"this one has 5 \(road, sky, car, …\) and no 'sidewalk'"):
        load_segmenter(str(tmp_path / 'folder'), 'cityscapes-driving')
    with pytest.raises(UserError, match="no class map 'rods'"):
        load_segmenter(str(tmp_path / 'folder'), 'rods')

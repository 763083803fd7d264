"""Prototypes (Eq. 6) and contrastive alignment (Eq. 7), pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vseg_ros.ditta.contrastive import (
    ProjectionHead,
    Prototypes,
    contrastive_loss,
    sized_features,
)
from vseg_ros.ditta.row_step import ROW_STEP

DEPTH, HEIGHT, WIDTH = 6, 5, 8
IDS = (3, 7, 12)


def unit(vector: Tensor) -> Tensor:
    return vector / math.sqrt(float((vector ** 2).sum()))


def literal_prototype(features: Tensor, sure: Tensor, objects: Tensor, object_id: int) -> Tensor:
    """Eq. 6 over one frame: the mean over the mask of R F, as a direction."""
    total, count = torch.zeros(DEPTH, dtype=torch.float64), 0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if objects[y, x] == object_id:
                total += sure[y, x] * features[:, y, x]
                count += 1
    return unit(total / count)


def literal_loss(features: Tensor, objects: Tensor, prototypes: dict[int, Tensor],
                 temperature: float) -> float:
    """Eq. 7, summed over the pixels of every mask and divided by the pixels of the frame."""
    total = 0.0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if objects[y, x] == 0:
                continue
            similar = {key: math.exp(float(features[:, y, x] @ vector) / temperature)
                       for key, vector in prototypes.items()}
            total -= math.log(similar[int(objects[y, x])] / sum(similar.values()))
    return total / (HEIGHT * WIDTH)


def random_frame(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(DEPTH, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    sure = torch.rand(HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    objects = torch.tensor((0, *IDS))[torch.randint(4, (HEIGHT, WIDTH), generator=generator)]
    return F.normalize(features, dim=0), sure, objects


@pytest.mark.parametrize('seed', range(3))
def test_first_prototype_is_equation_6(seed: int) -> None:
    frame = random_frame(seed)
    ids, vectors = Prototypes().update(*frame)
    assert ids.tolist() == list(IDS)
    for vector, object_id in zip(vectors, IDS, strict=True):
        torch.testing.assert_close(vector, literal_prototype(*frame, object_id))


def test_prototypes_run_along_the_video() -> None:
    first, second = random_frame(1), random_frame(2)
    second[2][second[2] == 7] = 0
    prototypes = Prototypes()
    prototypes.update(*first)
    ids, vectors = prototypes.update(*second)
    assert ids.tolist() == [3, 12]
    for vector, object_id in zip(vectors, (3, 12), strict=True):
        before = literal_prototype(*first, object_id)
        after = literal_prototype(*second, object_id)
        torch.testing.assert_close(vector, unit((before + after) / 2))
        torch.testing.assert_close(prototypes.vectors[object_id], vector)
    # an object that is out of sight keeps its prototype
    torch.testing.assert_close(prototypes.vectors[7], literal_prototype(*first, 7))


@pytest.mark.parametrize('temperature', [1.0, 0.1])
@pytest.mark.parametrize('seed', range(3))
def test_loss_is_equation_7(seed: int, temperature: float) -> None:
    features, _, objects = random_frame(seed)
    ids, vectors = Prototypes().update(*random_frame(seed + 10)[:2], objects)
    loss = contrastive_loss(features, objects, ids, vectors, temperature)
    pairs = dict(zip(ids.tolist(), vectors, strict=True))
    assert float(loss) == pytest.approx(literal_loss(features, objects, pairs, temperature))


def test_loss_pulls_features_towards_the_prototype_of_their_object() -> None:
    features, sure, objects = random_frame(4)
    ids, vectors = Prototypes().update(features, sure, objects)
    features.requires_grad_()
    loss = contrastive_loss(features, objects, ids, vectors, 1.0)
    slope, = torch.autograd.grad(loss, features)
    assert (slope[:, objects == 0] == 0).all()
    for vector, object_id in zip(vectors, IDS, strict=True):
        assert (vector @ slope[:, objects == object_id] < 0).all()


def test_prototypes_are_targets_without_gradient() -> None:
    features, sure, objects = random_frame(5)
    _, vectors = Prototypes().update(features.requires_grad_(), sure, objects)
    assert not vectors.requires_grad


def test_a_frame_without_objects_has_no_loss_but_can_be_differentiated() -> None:
    features, sure, objects = random_frame(6)
    ids, vectors = Prototypes().update(features, sure, torch.zeros_like(objects))
    loss = contrastive_loss(features.requires_grad_(), torch.zeros_like(objects), ids, vectors, 1)
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, features)[0] == 0).all()


def test_an_object_without_any_reliability_stays_finite() -> None:
    features, sure, objects = random_frame(7)
    ids, vectors = Prototypes().update(features, torch.zeros_like(sure), objects)
    assert torch.isfinite(vectors).all()
    assert torch.isfinite(contrastive_loss(features, objects, ids, vectors, 1.0))


def test_features_are_resized_as_directions() -> None:
    features = random_frame(8)[0][None] * torch.linspace(1, 9, WIDTH, dtype=torch.float64)
    resized = sized_features(features, (9, 13))
    expected = F.interpolate(features / features.norm(dim=1, keepdim=True), size=(9, 13),
                             mode='bilinear', align_corners=False)[0]
    torch.testing.assert_close(resized, expected)
    assert torch.equal(sized_features(features, (HEIGHT, WIDTH)), features[0])


def test_only_directions_of_features_count() -> None:
    features, sure, objects = random_frame(9)
    stretched = features * torch.linspace(0.1, 9, WIDTH, dtype=torch.float64)
    ids, vectors = Prototypes().update(features, sure, objects)
    torch.testing.assert_close(Prototypes().update(stretched, sure, objects)[1], vectors)
    torch.testing.assert_close(contrastive_loss(stretched, objects, ids, vectors, 1.0),
                               contrastive_loss(features, objects, ids, vectors, 1.0))


def test_projection_head_is_three_pointwise_convolutions() -> None:
    head = ProjectionHead(DEPTH)
    assert [type(layer) for layer in head] == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]
    moved = torch.zeros(1, DEPTH, HEIGHT, WIDTH)
    moved[..., 2, 3] = 1
    changed = (head(moved) != head(torch.zeros_like(moved))).any(1)[0]
    assert changed.nonzero().tolist() == [[2, 3]]


def test_the_head_is_three_convolutions() -> None:
    torch.manual_seed(0)
    head, embedding = ProjectionHead(DEPTH), torch.randn(2, DEPTH, HEIGHT, WIDTH)
    expected = embedding
    for layer in head:
        expected = layer(expected.clone())
    torch.testing.assert_close(head(embedding), expected)


def test_cells_left_out_change_neither_loss_nor_gradients() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(DEPTH)
    embedding = torch.randn(1, DEPTH, HEIGHT, WIDTH, requires_grad=True)
    objects = torch.randint(0, 3, (HEIGHT, WIDTH))
    objects[:2] = 0
    ids, prototypes = torch.tensor([1, 2]), F.normalize(torch.randn(2, DEPTH), dim=1)

    def gradients() -> list[Tensor]:
        features = head(embedding)
        loss = contrastive_loss(features[0], objects, ids, prototypes, 0.5)
        return [loss.detach(), *torch.autograd.grad(loss, [embedding, *head.parameters()])]

    everywhere = gradients()
    with head.only(objects > 0):
        assert not head(embedding)[0, :, objects == 0].any()
        inside = gradients()
    for found, expected in zip(inside, everywhere, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    with head.only(torch.ones(2, 2, dtype=torch.bool)):
        torch.testing.assert_close(head(embedding), head(embedding))
    assert head(embedding)[0, :, objects == 0].abs().sum() > 0


class Products(TorchDispatchMode):
    """Notes the shapes of what is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[tuple[int, ...], ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if 'mm' in str(func):
            self.shapes.append(tuple(tuple(x.shape) for x in args))
        return func(*args, **(kwargs or {}))


def test_masks_of_about_one_size_make_products_of_one_size() -> None:
    # every new one would be prepared and kept, and memory grow with the scenes
    head = ProjectionHead(DEPTH)
    embedding = torch.randn(1, DEPTH, 12, 20)

    def products(cells: int) -> list[tuple[tuple[int, ...], ...]]:
        wanted = torch.arange(240).view(12, 20) < cells
        with head.only(wanted), Products() as made:
            head(embedding).square().sum().backward()
        return made.shapes

    few, more, most = (products(cells) for cells in (3, ROW_STEP, ROW_STEP + 1))
    assert len(few) > 3
    assert few == more != most

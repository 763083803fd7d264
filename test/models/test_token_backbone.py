"""Frozen backbones: each against transformers called directly, and what freezing promises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SegformerForSemanticSegmentation,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from vseg_ros.errors import UserError
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.segmenter import Features
from vseg_ros.models.token_backbone import TokenBackbone, load_backbone, segmenter_backbone

TINY: dict[str, Any] = {'hidden_size': 32, 'num_hidden_layers': 4, 'num_attention_heads': 2,
                        'image_size': 56}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def randomize(model: nn.Module) -> nn.Module:
    """Give every weight a value that shows, position embeddings and layer norms too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model.eval()


def saved(model: nn.Module, folder: Path) -> nn.Module:
    randomize(model).save_pretrained(folder)  # type: ignore[operator]
    return model


@pytest.fixture
def dinov2(tmp_path: Path) -> Dinov2Model:
    return saved(Dinov2Model(Dinov2Config(**TINY)), tmp_path / 'dinov2')


@pytest.fixture
def make_images(make_image: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    def make(height: int, width: int, batch: int = 1) -> Tensor:
        return torch.from_numpy(np.stack([make_image(height, width, i) for i in range(batch)]))
    return make


def normalized(images: Tensor) -> Tensor:
    """Normalise by hand, pixel values 0..1 first."""
    planes = (images.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    return planes.permute(0, 3, 1, 2).float()


def grid(tokens: Tensor, prefix: int, height: int, width: int) -> Tensor:
    """Lay tokens [B, prefix + N, C] out as a map, one by one."""
    laid = torch.empty(len(tokens), tokens.shape[2], height, width)
    for y in range(height):
        for x in range(width):
            laid[:, :, y, x] = tokens[:, prefix + y * width + x]
    return laid


def hidden_states(model: nn.Module, images: Tensor) -> Sequence[Tensor]:
    with torch.no_grad():
        states: Sequence[Tensor] = model(
            normalized(images), output_hidden_states=True).hidden_states
    return states


def assert_equal(features: Features, expected: Sequence[Tensor]) -> None:
    assert len(features) == len(expected)
    for value, reference in zip(features, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('height', 'width'), [(56, 56), (42, 70), (14, 98)])
@pytest.mark.parametrize('blocks', [(1, 3), (2, 4), (4,), (1, 2, 3, 4)])
def test_dinov2_tokens_of_any_size(dinov2: Dinov2Model, tmp_path: Path, blocks: tuple[int, ...],
                                   height: int, width: int,
                                   make_images: Callable[..., Tensor]) -> None:
    backbone = load_backbone(str(tmp_path / 'dinov2'), blocks)
    assert backbone.widths == (32,) * len(blocks)
    assert backbone.strides == (14,) * len(blocks)
    assert backbone.size_multiple == 14
    images = make_images(height, width, 2)
    states = hidden_states(dinov2, images)
    assert_equal(backbone(images), [grid(states[block], 1, height // 14, width // 14)
                                    for block in blocks])


def test_register_tokens_are_left_out(tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    model = saved(Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**TINY, patch_size=14, num_register_tokens=3)), tmp_path / 'reg')
    images = make_images(42, 70)
    states = hidden_states(model, images)
    assert_equal(load_backbone(str(tmp_path / 'reg'), (2, 4))(images),
                 [grid(states[block], 4, 3, 5) for block in (2, 4)])


def test_dinov3_patches_of_16(tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    model = saved(DINOv3ViTModel(DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        num_register_tokens=2)), tmp_path / 'dinov3')
    backbone = load_backbone(str(tmp_path / 'dinov3'), (1, 2))
    assert backbone.size_multiple == 16
    images = make_images(48, 80)
    states = hidden_states(model, images)
    assert_equal(backbone(images), [grid(states[block], 3, 3, 5) for block in (1, 2)])


def test_swin_has_one_map_a_stage(tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    model = saved(SwinModel(SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2],
                                       image_size=64, window_size=4)), tmp_path / 'swin')
    backbone = load_backbone(str(tmp_path / 'swin'), (1, 2, 4))
    assert backbone.widths == (8, 16, 64)
    assert backbone.strides == (4, 8, 32)
    assert backbone.size_multiple == 32
    images = make_images(160, 192)  # more places than a window at every stage
    states = []  # of every stage, before its maps are halved
    for stage in model.encoder.layers:
        stage.blocks[-1].register_forward_hook(
            lambda _module, _inputs, output: states.append(
                output if isinstance(output, Tensor) else output[0]))
    with torch.no_grad():
        model(normalized(images))
    # the classifier's checkpoint has no norms for the maps: they are plain normalisation
    assert_equal(backbone(images), [
        grid(nn.functional.layer_norm(states[block - 1], [width]), 0, *size)
        for block, width, size in ((1, 8, (40, 48)), (2, 16, (20, 24)), (4, 64, (5, 6)))])


def test_adapter_for_an_architecture_without_a_backbone_class(
        tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    model = randomize(ViTModel(ViTConfig(**TINY, intermediate_size=48, patch_size=16)))

    class ViTMaps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, planes: Tensor) -> Features:
            states = self.model(planes, output_hidden_states=True,
                                interpolate_pos_encoding=True).hidden_states
            height, width = planes.shape[2] // 16, planes.shape[3] // 16
            return tuple(states[block][:, 1:].mT.unflatten(2, (height, width))
                         for block in (1, 3))

    backbone = TokenBackbone(ViTMaps(), probe_side=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert backbone.size_multiple == 16
    images = make_images(64, 96)
    with torch.no_grad():
        states = model((images.permute(0, 3, 1, 2) / 127.5 - 1), output_hidden_states=True,
                       interpolate_pos_encoding=True).hidden_states
    assert_equal(backbone(images), [grid(states[block], 1, 4, 6) for block in (1, 3)])


def test_bundled_segmenter(make_images: Callable[..., Tensor]) -> None:
    backbone = load_backbone('driving-b0', (1, 2, 3, 4))
    assert backbone.widths == (32, 64, 160, 256)
    assert backbone.strides == (4, 8, 16, 32)
    assert backbone.size_multiple == 32
    images = make_images(64, 96)
    with torch.no_grad():
        expected = load_segmenter('driving-b0').encode(images)
    assert_equal(backbone(images), expected)
    some = load_backbone('driving-b0', (2, 4))
    assert some.widths == (64, 256)
    assert some.size_multiple == 32
    assert_equal(some(images), [expected[1], expected[3]])


def test_segformer_folder(make_hf_segformer: Callable[[], SegformerForSemanticSegmentation],
                          tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    make_hf_segformer().save_pretrained(tmp_path / 'segformer')
    images = make_images(64, 96)
    backbone = load_backbone(str(tmp_path / 'segformer'), (1, 3))
    assert backbone.widths == (8, 20)
    with torch.no_grad():
        expected = make_hf_segformer().segformer(
            normalized(images), output_hidden_states=True).hidden_states
    assert_equal(backbone(images), [expected[0], expected[2]])


def test_file_of_an_ocrnet(ocrnet_file: Path, make_images: Callable[..., Tensor]) -> None:
    backbone = load_backbone(str(ocrnet_file), (1, 4))
    images = make_images(64, 96)
    with torch.no_grad():
        expected = load_segmenter(str(ocrnet_file)).encode(images)
    assert backbone.widths == (expected[0].shape[1], expected[3].shape[1])
    assert_equal(backbone(images), [expected[0], expected[3]])


def test_a_loaded_segmenter_is_shared() -> None:
    segmenter = load_segmenter('driving-b0')
    backbone = segmenter_backbone(segmenter, (1, 2))
    assert ({p.data_ptr() for p in backbone.parameters()}
            == {p.data_ptr() for p in segmenter.backbone.parameters()})


class Parent(nn.Module):
    """A frozen backbone with something that is trained on it."""

    def __init__(self, backbone: TokenBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.widths[-1], 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.backbone(images)[-1])
        return scores


@pytest.fixture
def parent(dinov2: Dinov2Model, tmp_path: Path) -> Parent:
    torch.manual_seed(0)
    return Parent(load_backbone(str(tmp_path / 'dinov2'), (2, 4)))


def test_training_leaves_the_backbone_alone(parent: Parent,
                                            make_images: Callable[..., Tensor]) -> None:
    images = make_images(42, 56)
    before = copy.deepcopy(parent)
    parent.train()
    assert parent.training
    assert not any(module.training for module in parent.backbone.modules())
    assert [name for name, p in parent.named_parameters() if p.requires_grad] == [
        'head.weight', 'head.bias']
    optimizer = torch.optim.AdamW(parent.parameters(), lr=0.1)
    parent(images).square().mean().backward()
    optimizer.step()
    assert_equal(parent.backbone(images), before.backbone(images))
    assert not any(values.requires_grad for values in parent.backbone(images))
    for name, value in parent.backbone.named_parameters():
        assert torch.equal(value, before.backbone.get_parameter(name))
    assert not torch.equal(parent.head.weight, before.head.weight)


def test_even_unfrozen_by_the_parent_no_gradient_passes(
        parent: Parent, make_images: Callable[..., Tensor]) -> None:
    parent.requires_grad_(True)
    parent(make_images(28, 28)).sum().backward()
    assert all(parameter.grad is None for parameter in parent.backbone.parameters())


def test_stochastic_depth_stays_off(tmp_path: Path, make_images: Callable[..., Tensor]) -> None:
    model = saved(Dinov2Model(Dinov2Config(**TINY, drop_path_rate=0.9, hidden_dropout_prob=0.5)),
                  tmp_path / 'drop')
    images = make_images(28, 42)
    backbone = load_backbone(str(tmp_path / 'drop'), (4,)).train()
    assert_equal(backbone(images), [grid(hidden_states(model, images)[4], 1, 2, 3)])


def test_state_of_the_parent_has_no_backbone(parent: Parent, tmp_path: Path,
                                             make_images: Callable[..., Tensor]) -> None:
    assert list(parent.state_dict()) == ['head.weight', 'head.bias']
    save_file(parent.state_dict(), tmp_path / 'trained.safetensors')
    other = Parent(load_backbone(str(tmp_path / 'dinov2'), (2, 4)))
    images = make_images(42, 56)
    assert not torch.allclose(other(images), parent(images))
    other.load_state_dict(load_file(tmp_path / 'trained.safetensors'), strict=True)
    assert torch.equal(other(images), parent(images))
    deeper = nn.Sequential(other)
    assert list(deeper.state_dict()) == ['0.head.weight', '0.head.bias']
    deeper.load_state_dict(deeper.state_dict(), strict=True, assign=True)
    assert torch.equal(deeper(images), parent(images))
    with pytest.raises(RuntimeError, match=r'Missing key.*head\.weight'):
        other.load_state_dict({})


def test_own_state_is_whole(parent: Parent, tmp_path: Path) -> None:
    state = parent.backbone.state_dict()
    assert len(state) == len(list(parent.backbone.parameters()))
    with pytest.raises(RuntimeError, match='Missing key'):
        parent.backbone.load_state_dict({})


def test_size_that_is_no_multiple(parent: Parent, make_images: Callable[..., Tensor]) -> None:
    for height, width in ((56, 57), (43, 56)):
        with pytest.raises(ValueError, match=f'{width} x {height} pixels.* multiples of 14'):
            parent.backbone(make_images(height, width))


def test_half_precision(parent: Parent, make_images: Callable[..., Tensor]) -> None:
    images = make_images(42, 56)
    exact = parent.backbone(images)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = parent.backbone(images)
    half = parent.to(torch.bfloat16).backbone(images)
    assert [values.dtype for values in half] == [torch.bfloat16] * 2
    for name, features in (('autocast', mixed), ('bfloat16', half)):
        for value, reference in zip(features, exact, strict=True):
            error = (value.float() - reference).norm() / reference.norm()
            assert error < 0.03, (name, error)


def test_moves_with_the_parent(parent: Parent) -> None:
    moved = parent.to('meta').backbone
    assert {value.device.type for value in [*moved.parameters(), *moved.buffers()]} == {'meta'}


@pytest.mark.parametrize('blocks', [(5,), (0, 1), (2, 1), (2, 2), (), (-1,)])
def test_blocks_that_are_not_there(dinov2: Dinov2Model, tmp_path: Path,
                                   blocks: tuple[int, ...]) -> None:
    for name in (str(tmp_path / 'dinov2'), 'driving-b0'):
        with pytest.raises(UserError, match='has 4 blocks to read: give some of 1 to 4') as caught:
            load_backbone(name, blocks)
        assert name in str(caught.value)


def test_model_that_is_no_backbone(tmp_path: Path) -> None:
    CLIPTextModel(CLIPTextConfig(
        hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1,
        vocab_size=9)).save_pretrained(tmp_path / 'clip')
    with pytest.raises(UserError, match='is a clip_text_model, no backbone'):
        load_backbone(str(tmp_path / 'clip'), (1,))


@pytest.mark.parametrize('damage', ['config', 'truncated', 'gone', 'lacking'])
def test_damaged_folder(dinov2: Dinov2Model, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / 'dinov2'
    weights = folder / 'model.safetensors'
    if damage == 'config':
        (folder / 'config.json').write_text('{')
    elif damage == 'truncated':
        weights.write_bytes(weights.read_bytes()[:999])
    elif damage == 'gone':
        weights.unlink()
    else:
        state = {name: value for name, value in load_file(weights).items() if 'norm1' not in name}
        save_file(state, weights, {'format': 'pt'})
    with pytest.raises(UserError, match=r'(holds no readable|lacks 8 of the weights of a) backbon'
                       ) as caught:
        load_backbone(str(folder), (1,))
    assert '\n' not in str(caught.value)


def test_hub_id_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(UserError, match=r"cannot load 'facebook/dinov2-large' from the hub.*hf d"
                       ) as caught:
        load_backbone('facebook/dinov2-large', (8, 12, 16, 24))
    assert '\n' not in str(caught.value)

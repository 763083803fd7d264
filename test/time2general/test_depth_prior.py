"""The depth prior: Depth Anything's tokens against transformers, and the gate by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    Swinv2Config,
)

from vseg_ros.errors import UserError
from vseg_ros.models.token_backbone import load_backbone
from vseg_ros.time2general.depth_prior import DepthGate, check_same_grid, load_depth_tokens

TINY: dict[str, Any] = {'hidden_size': 32, 'num_hidden_layers': 4, 'num_attention_heads': 2,
                        'image_size': 56}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def depth_anything(encoder: Any) -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    model = DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=encoder, reassemble_hidden_size=32, neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4, head_hidden_size=4)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape))
    return model


@pytest.fixture
def model(tmp_path: Path) -> DepthAnythingForDepthEstimation:
    made = depth_anything(Dinov2Config(**TINY, out_indices=[1, 2, 3, 4],
                                       reshape_hidden_states=False))
    made.save_pretrained(tmp_path / 'depth')
    return made


@pytest.mark.parametrize('blocks', [(1, 3), (4,), (1, 2, 3, 4)])
def test_tokens_are_those_of_its_encoder(model: DepthAnythingForDepthEstimation, tmp_path: Path,
                                         blocks: tuple[int, ...]) -> None:
    depth = load_depth_tokens(str(tmp_path / 'depth'), blocks)
    images = torch.randint(0, 256, (2, 42, 70, 3), dtype=torch.uint8)
    planes = (images / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        states = model(planes.permute(0, 3, 1, 2), output_hidden_states=True).hidden_states
    tokens = depth(images)
    assert [values.shape for values in tokens] == [(2, 32, 3, 5)] * len(blocks)
    for values, block in zip(tokens, blocks, strict=True):
        for y in range(3):
            for x in range(5):
                torch.testing.assert_close(values[:, :, y, x], states[block][:, 1 + 5 * y + x],
                                           rtol=1e-4, atol=1e-4)


def test_only_the_encoder_is_kept_and_frozen(model: DepthAnythingForDepthEstimation,
                                             tmp_path: Path) -> None:
    depth = load_depth_tokens(str(tmp_path / 'depth'), (4,)).train()
    assert (sum(p.numel() for p in depth.parameters())
            == sum(p.numel() for p in model.backbone.parameters()))
    assert not any(parameter.requires_grad for parameter in depth.parameters())
    assert not any(module.training for module in depth.modules())
    holder = nn.ModuleDict({'depth': depth, 'gate': DepthGate(1)})
    assert list(holder.state_dict()) == ['gate.logits']


def test_grids(model: DepthAnythingForDepthEstimation, tmp_path: Path) -> None:
    Dinov2Model(Dinov2Config(**TINY)).save_pretrained(tmp_path / 'rgb')
    Dinov2Model(Dinov2Config(**TINY, patch_size=7)).save_pretrained(tmp_path / 'fine')
    depth = load_depth_tokens(str(tmp_path / 'depth'), (2, 4))
    check_same_grid(load_backbone(str(tmp_path / 'rgb'), (1, 3)), depth)
    for name, blocks in (('fine', (1, 3)), ('rgb', (1,))):
        with pytest.raises(UserError, match='depth prior reads maps at strides 14, 14, the back'):
            check_same_grid(load_backbone(str(tmp_path / name), blocks), depth)
    with pytest.raises(UserError, match='the backbone at 4, 8: give as many blocks'):
        check_same_grid(load_backbone('driving-b0', (1, 2)), depth)


def test_what_is_no_depth_anything(model: DepthAnythingForDepthEstimation,
                                   tmp_path: Path) -> None:
    Dinov2Model(Dinov2Config(**TINY)).save_pretrained(tmp_path / 'rgb')
    with pytest.raises(UserError, match='is a dinov2, no Depth Anything checkpoint'):
        load_depth_tokens(str(tmp_path / 'rgb'), (1,))
    with pytest.raises(UserError, match='driving-b0 is no Depth Anything checkpoint'):
        load_depth_tokens('driving-b0', (1,))
    with pytest.raises(UserError, match='has 4 blocks to read'):
        load_depth_tokens(str(tmp_path / 'depth'), (4, 5))
    DepthAnythingConfig(backbone_config=Swinv2Config()).save_pretrained(tmp_path / 'swin')
    with pytest.raises(UserError, match='has no DINOv2 encoder'):
        load_depth_tokens(str(tmp_path / 'swin'), (1,))
    (tmp_path / 'depth' / 'model.safetensors').write_bytes(b'broken')
    with pytest.raises(UserError, match='holds no readable Depth Anything checkpoint'):
        load_depth_tokens(str(tmp_path / 'depth'), (1,))


def test_hub_id_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(UserError, match="cannot load 'nobody/depth' from the hub"):
        load_depth_tokens('nobody/depth', (1,))


def test_gate_starts_at_nine_tenths_and_learns_by_layer() -> None:
    gate = DepthGate(4)
    torch.testing.assert_close(gate.beta, torch.full((4,), 0.9))
    optimizer = torch.optim.SGD(gate.parameters(), 50.0)
    rgb, depth = torch.zeros(3, 5), torch.ones(3, 5)
    for _ in range(20):
        optimizer.zero_grad()
        (gate(1, rgb, depth) - 1).square().mean().backward()
        optimizer.step()
    beta = gate.beta.tolist()
    assert 0 < beta[1] < 0.1
    assert [beta[0], beta[2], beta[3]] == pytest.approx([0.9] * 3)


def test_gate_against_the_paper() -> None:
    torch.manual_seed(0)
    gate = DepthGate(2)
    with torch.no_grad():
        gate.logits.copy_(torch.tensor([-1.0, 2.0]))
    z_rgb, z_depth = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for layer in (0, 1):
        fused = gate(layer, z_rgb, z_depth)
        beta = 1 / (1 + torch.exp(-gate.logits[layer]))
        for place in [(b, c, n) for b in range(2) for c in range(3) for n in range(4)]:
            expected = beta * z_rgb[place] + (1 - beta) * z_depth[place]
            torch.testing.assert_close(fused[place], expected)

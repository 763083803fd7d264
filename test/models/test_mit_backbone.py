"""The MiT backbone against transformers' own SegFormer, alone and inside SAM 2's encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, Sam2VideoModel, SegformerModel

from vseg_ros.models.mit_backbone import MitBackboneConfig, MitBackboneModel
from vseg_ros.models.nano_sam2 import nano_sam2_config


@pytest.fixture(scope='module')
def backbone() -> MitBackboneModel:
    torch.manual_seed(0)
    return MitBackboneModel(MitBackboneConfig('b0')).eval().requires_grad_(False)


def test_maps_are_those_of_segformer_channels_last(backbone: MitBackboneModel) -> None:
    reference = SegformerModel(MitBackboneConfig('b0').segformer).eval()
    reference.load_state_dict(backbone.segformer.state_dict())
    images = torch.randn(2, 3, 64, 96)
    output = backbone(images)
    expected = reference(images, output_hidden_states=True).hidden_states
    assert output.intermediate_hidden_states is not None
    for ours, theirs, stride, width in zip(output.intermediate_hidden_states, expected,
                                           (4, 8, 16, 32), backbone.config.widths, strict=True):
        assert ours.shape == (2, 64 // stride, 96 // stride, width)
        assert torch.equal(ours, theirs.permute(0, 2, 3, 1))
    assert output.last_hidden_state is output.intermediate_hidden_states[-1]


def test_variants_have_widths_of_their_own() -> None:
    assert MitBackboneConfig('b0').widths == [32, 64, 160, 256]
    assert MitBackboneConfig('b1').widths == [64, 128, 320, 512]


def test_transformers_saves_and_loads_it(backbone: MitBackboneModel, tmp_path: Path) -> None:
    backbone.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).variant == 'b0'
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, MitBackboneModel)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded.eval()(images).last_hidden_state,
                       backbone(images).last_hidden_state)


def test_sam2_builds_it_by_its_configuration(tmp_path: Path) -> None:
    model = Sam2VideoModel(nano_sam2_config(64, 64))
    assert isinstance(model.vision_encoder.backbone, MitBackboneModel)
    model.save_pretrained(tmp_path)
    loaded = Sam2VideoModel.from_pretrained(tmp_path)
    assert isinstance(loaded.vision_encoder.backbone, MitBackboneModel)
    assert torch.equal(loaded.state_dict()['mask_decoder.conv_s0.weight'],
                       model.state_dict()['mask_decoder.conv_s0.weight'])

"""
`vseg convert` on the layouts that authors release: our networks, renamed and converted back.

The tables of names here are written by hand from the authors' modules, and know nothing of those
in the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    Sam2VideoConfig,
    Sam2VideoModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)
from typer.testing import CliRunner

from vseg_ros.cli import app
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.models import image_pipeline
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.sam2_tracker import Sam2Tracker
from vseg_ros.models.segformer import SEGFORMER_VARIANTS
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import DittaSettings
from vseg_ros.settings_reading import settings_from_values

TINY = {'hidden_sizes': [8, 16, 40, 32], 'depths': [1, 2, 1, 1], 'decoder_hidden_size': 16}

BLOCK = {
    'layer_norm_1': 'norm1', 'layer_norm_2': 'norm2', 'attention.self.query': 'attn.q',
    'attention.output.dense': 'attn.proj', 'attention.self.sr': 'attn.sr',
    'attention.self.layer_norm': 'attn.norm', 'mlp.dense1': 'mlp.fc1', 'mlp.dense2': 'mlp.fc2',
    'mlp.dwconv.dwconv': 'mlp.dwconv.dwconv'}
"""Layers of a block in files of transformers, and in the authors' SegFormer."""

HEAD = {
    'linear_fuse': 'linear_fuse.conv', 'batch_norm': 'linear_fuse.bn', 'classifier': 'linear_pred',
    'linear_c.0.proj': 'linear_c1.proj', 'linear_c.1.proj': 'linear_c2.proj',
    'linear_c.2.proj': 'linear_c3.proj', 'linear_c.3.proj': 'linear_c4.proj'}
"""Layers of the decoder, likewise."""


def unsettle(model: nn.Module) -> nn.Module:
    """Move weights and statistics away from their start, where errors can hide."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith('running_var'):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model


def authors_segformer(folder: Path) -> dict[str, Tensor]:
    """Rename what transformers wrote to the names of the authors' code."""
    state = {}
    for name, value in load_file(folder / 'model.safetensors').items():
        layer, part = name.rsplit('.', 1)
        if name.startswith('decode_head.'):
            state[f'decode_head.{HEAD[layer.removeprefix("decode_head.")]}.{part}'] = value
            continue
        kind, stage, *inside = layer.removeprefix('segformer.encoder.').split('.')
        stage = str(int(stage) + 1)
        if kind == 'layer_norm':
            state[f'backbone.norm{stage}.{part}'] = value
        elif kind == 'patch_embeddings':
            theirs = {'proj': 'proj', 'layer_norm': 'norm'}[inside[0]]
            state[f'backbone.patch_embed{stage}.{theirs}.{part}'] = value
        elif inside[1:] == ['attention', 'self', 'key']:
            values = load_file(folder / 'model.safetensors')[name.replace('.key.', '.value.')]
            state[f'backbone.block{stage}.{inside[0]}.attn.kv.{part}'] = torch.cat([value, values])
        elif inside[1:] != ['attention', 'self', 'value']:
            theirs = BLOCK['.'.join(inside[1:])]
            state[f'backbone.block{stage}.{inside[0]}.{theirs}.{part}'] = value
    # a classifier that the framework makes and no image passes
    state['decode_head.conv_seg.weight'] = torch.ones(5, 4, 1, 1)
    return state


@pytest.fixture(scope='module', autouse=True)
def tiny_variant() -> Iterator[None]:
    """A size that stands in for the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SEGFORMER_VARIANTS, 'tiny', TINY)
        yield


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines do not compile their segmenter."""
    monkeypatch.setattr(
        image_pipeline, 'create_runtime',
        lambda segmenter, device, *_: TorchRuntime(segmenter, torch.device(device)))


@pytest.fixture(scope='module')
def network() -> SegformerForSemanticSegmentation:
    """A SegFormer of transformers."""
    torch.manual_seed(0)
    # width and classes are not those of the published sizes, as in DiTTA's release
    config = SegformerConfig.from_dict({**TINY, 'decoder_hidden_size': 24, 'num_labels': 5})
    return unsettle(SegformerForSemanticSegmentation(config)).eval()


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    file = tmp_path / 'classes.txt'
    file.write_text('road\nsky\ncar\nlamp post\ntree\n')
    return file


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(2))


def convert(*arguments: object) -> str:
    result = CliRunner().invoke(app, ['convert', *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def check_logits(segmenter: ImageSegmenter, network, images: Tensor) -> None:
    """Compare with the network itself on images normalised as the authors' code does."""
    with torch.no_grad():
        # RGB, in 0..255
        pixels = (images.float() - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
            [58.395, 57.12, 57.375])
        expected = network(pixels.permute(0, 3, 1, 2)).logits
        torch.testing.assert_close(segmenter(images).logits, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_segformer(network, classes: Path, images: Tensor, tmp_path: Path, wrapper: str) -> None:
    network.save_pretrained(tmp_path / 'transformers')
    state = authors_segformer(tmp_path / 'transformers')
    torch.save({'state_dict': {wrapper + name: value for name, value in state.items()},
                'meta': {'CLASSES': ('a', 'b'), 'epoch': 3}}, tmp_path / 'segformer.pth')
    convert('segformer', tmp_path / 'segformer.pth', tmp_path / 'out', '--classes', classes)
    segmenter = load_segmenter(str(tmp_path / 'out'))
    assert segmenter.label_set.names == ('road', 'sky', 'car', 'lamp post', 'tree')
    check_logits(segmenter, network, images)


@pytest.fixture(scope='module')
def released_ditta(network, tmp_path_factory: pytest.TempPathFactory,
                   ) -> tuple[DittaModel, dict[str, Tensor]]:
    """A model before its adaptation, and the weights of its release; not to be changed."""
    folder = tmp_path_factory.mktemp('transformers')
    network.save_pretrained(folder)
    torch.manual_seed(7)
    model = DittaModel(load_segmenter(str(folder)).decoder, radius=5).eval()
    unsettle(model.addon)
    unsettle(model.projection)
    state = authors_segformer(folder)
    for theirs, part in (('query_layer', model.addon.query_layer),
                         ('key_layer', model.addon.key_layer), ('proj_feat', model.projection)):
        for name, value in part.state_dict().items():
            state[f'decode_head.{theirs}.{name}'] = value
    return model, state


def test_ditta(network, released_ditta, classes: Path, images: Tensor, tmp_path: Path) -> None:
    model, state = released_ditta
    torch.save({'state_dict': state, 'meta': {'CLASSES': None, 'ditta_addon_init': 'seed:5123'}},
               tmp_path / 'ditta.pth')
    convert('ditta', tmp_path / 'ditta.pth', tmp_path / 'out', '--classes', classes)
    pipeline = DittaPipeline(settings_from_values(DittaSettings, {
        'segmenter': str(tmp_path / 'out'), 'device': 'cpu', 'precision': 'float32'}))
    started = pipeline._new_model().eval()
    segmenter = load_segmenter(str(tmp_path / 'out'))
    check_logits(segmenter, network, images)
    with torch.no_grad():
        features = segmenter.encode(images)
        now, before = tuple(each[1:] for each in features), tuple(each[:1] for each in features)
        for ours, expected in zip(started(now, before), model(now, before), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


SAM2 = (
    ('no_memory_embedding', 'no_mem_embed'),
    ('no_memory_positional_encoding', 'no_mem_pos_enc'),
    ('memory_temporal_positional_encoding', 'maskmem_tpos_enc'),
    ('no_object_pointer', 'no_obj_ptr'),
    ('occlusion_spatial_embedding_parameter', 'no_obj_embed_spatial'),
    ('temporal_positional_encoding_projection_layer.', 'obj_ptr_tpos_proj.'),
    ('object_pointer_proj.proj_in.', 'obj_ptr_proj.layers.0.'),
    ('object_pointer_proj.layers.0.', 'obj_ptr_proj.layers.1.'),
    ('object_pointer_proj.proj_out.', 'obj_ptr_proj.layers.2.'),
    ('vision_encoder.backbone.patch_embed.projection.', 'image_encoder.trunk.patch_embed.proj.'),
    ('vision_encoder.backbone.', 'image_encoder.trunk.'),
    ('memory_encoder.feature_projection.', 'memory_encoder.pix_feat_proj.'),
    ('memory_encoder.projection.', 'memory_encoder.out_proj.'),
    ('memory_encoder.memory_fuser.', 'memory_encoder.fuser.'),
    ('memory_encoder.mask_downsampler.layers.0.conv.',
     'memory_encoder.mask_downsampler.encoder.0.'),
    ('memory_encoder.mask_downsampler.layers.0.layer_norm.',
     'memory_encoder.mask_downsampler.encoder.1.'),
    ('memory_encoder.mask_downsampler.layers.1.conv.',
     'memory_encoder.mask_downsampler.encoder.3.'),
    ('memory_encoder.mask_downsampler.layers.1.layer_norm.',
     'memory_encoder.mask_downsampler.encoder.4.'),
    ('memory_encoder.mask_downsampler.layers.2.conv.',
     'memory_encoder.mask_downsampler.encoder.6.'),
    ('memory_encoder.mask_downsampler.layers.2.layer_norm.',
     'memory_encoder.mask_downsampler.encoder.7.'),
    ('memory_encoder.mask_downsampler.layers.3.conv.',
     'memory_encoder.mask_downsampler.encoder.9.'),
    ('memory_encoder.mask_downsampler.layers.3.layer_norm.',
     'memory_encoder.mask_downsampler.encoder.10.'),
    ('memory_encoder.mask_downsampler.final_conv.',
     'memory_encoder.mask_downsampler.encoder.12.'),
    ('prompt_encoder.shared_embedding.positional_embedding',
     'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'),
    ('prompt_encoder.mask_embed.conv1.', 'sam_prompt_encoder.mask_downscaling.0.'),
    ('prompt_encoder.mask_embed.layer_norm1.', 'sam_prompt_encoder.mask_downscaling.1.'),
    ('prompt_encoder.mask_embed.conv2.', 'sam_prompt_encoder.mask_downscaling.3.'),
    ('prompt_encoder.mask_embed.layer_norm2.', 'sam_prompt_encoder.mask_downscaling.4.'),
    ('prompt_encoder.mask_embed.conv3.', 'sam_prompt_encoder.mask_downscaling.6.'),
    ('prompt_encoder.', 'sam_prompt_encoder.'),
    ('mask_decoder.upscale_conv1.', 'sam_mask_decoder.output_upscaling.0.'),
    ('mask_decoder.upscale_layer_norm.', 'sam_mask_decoder.output_upscaling.1.'),
    ('mask_decoder.upscale_conv2.', 'sam_mask_decoder.output_upscaling.3.'),
    ('mask_decoder.', 'sam_mask_decoder.'),
)
"""First parts of names: transformers', and Meta's. The first that fits counts."""

SAM2_INSIDE = (
    ('.layer_norm', '.norm'), ('.o_proj.', '.out_proj.'), ('.scale', '.gamma'),
    ('.depthwise_conv.', '.dwconv.'), ('.pointwise_conv', '.pwconv'),
    ('.mlp.proj_in.', '.mlp.layers.0.'), ('.mlp.proj_out.', '.mlp.layers.1.'),
)
"""What differs inside of names."""


def meta_name(name: str) -> str:
    if name.startswith('vision_encoder.neck.convs.'):
        level, part = name.removeprefix('vision_encoder.neck.convs.').split('.')
        return f'image_encoder.neck.convs.{level}.conv.{part}'
    ours, theirs = next((pair for pair in SAM2 if name.startswith(pair[0])), ('', ''))
    name = theirs + name.removeprefix(ours)
    for ours, theirs in SAM2_INSIDE:
        name = name.replace(ours, theirs)
    if 'hypernetworks' in name or 'prediction_head' in name or 'score_head' in name:
        for ours, theirs in (('.layers.0.', '.layers.1.'), ('.proj_in.', '.layers.0.'),
                             ('.proj_out.', '.layers.2.')):
            name = name.replace(ours, theirs)
    return name


def meta_sam2(model: Sam2VideoModel) -> dict[str, Tensor]:
    """Rename a SAM 2 of transformers to Meta's names."""
    state = {}
    for name, value in model.state_dict().items():
        if name == 'prompt_encoder.point_embed.weight':
            for point in range(4):
                row = value[point:point + 1]
                state[f'sam_prompt_encoder.point_embeddings.{point}.weight'] = row
        elif not name.startswith('shared_image_embedding.'):
            state[meta_name(name)] = value
    return state


@pytest.mark.parametrize('newer', [False, True], ids=['2.0', '2.1'])
def test_sam2(tiny_sam2: dict[str, Any], tmp_path: Path, newer: bool) -> None:
    config = Sam2VideoConfig(
        **tiny_sam2, enable_occlusion_spatial_embedding=newer,
        enable_temporal_pos_encoding_for_object_pointers=newer)
    torch.manual_seed(0)
    model = unsettle(Sam2VideoModel(config)).eval()
    with torch.no_grad():
        # the same random directions are stored twice in transformers, once by Meta
        frequencies = model.prompt_encoder.shared_embedding.positional_embedding
        model.shared_image_embedding.positional_embedding.copy_(frequencies)
    model.save_pretrained(tmp_path / 'given')
    torch.save({'model': meta_sam2(model)}, tmp_path / 'sam2.pt')
    convert('sam2', tmp_path / 'sam2.pt', tmp_path / 'out', '--config', tmp_path / 'given')
    masks = [tracks(tmp_path / folder) for folder in ('given', 'out')]
    for given, converted in zip(*masks, strict=True):
        torch.testing.assert_close(converted, given, atol=0, rtol=0)


def tracks(folder: Path) -> list[Tensor]:
    """Follow a point and a mask over three frames."""
    session = Sam2Tracker(str(folder), 'cpu', 'float32').open()
    random = np.random.default_rng(0)
    mask = np.zeros((48, 64), bool)
    mask[10:30, 20:50] = True
    for _ in range(3):
        session.append(random.integers(0, 256, (48, 64, 3), np.uint8))
    session.add_point(0, 1, (20.0, 12.0))
    session.add_mask(0, 2, mask)
    logits = list(session.logits.values())
    for index in (1, 2):
        session.track(index)
        logits.extend(session.logits.values())
    return logits


Damage = Callable[[dict[str, Tensor]], None]


def drop(name: str) -> Damage:
    return lambda state: state.__delitem__(name)


def add(name: str) -> Damage:
    return lambda state: state.__setitem__(name, torch.ones(1))


def shrink(name: str) -> Damage:
    return lambda state: state.__setitem__(name, state[name][1:])


@pytest.mark.parametrize(('damage', 'message'), [
    (drop('backbone.block2.1.attn.kv.bias'),
     r'SegFormer lacks weights \(1, such as backbone\.block2\.1\.attn\.kv\.bias'),
    (add('backbone.cls_token'), r'has unknown weights \(1, such as backbone\.cls_token'),
    (shrink('backbone.norm3.bias'), r'another size: backbone\.norm3\.bias is \[39\], not \[40\]'),
    (drop('decode_head.key_layer.2.bias'), r'add-on lacks weights \(1, such as addon\.key'),
    (shrink('decode_head.proj_feat.4.bias'), r'another size: projection\.4\.bias is \[23\]'),
    (drop('decode_head.linear_pred.weight'), r"it has no 'decode_head\.linear_pred\.weight'"),
    (drop('backbone.block2.1.norm1.weight'), r'which is none of SegFormer-B0 to B5'),
])
def test_damage_is_named_and_nothing_is_left(released_ditta, classes: Path, tmp_path: Path,
                                             damage: Damage, message: str) -> None:
    state = dict(released_ditta[1])
    damage(state)
    torch.save({'state_dict': state}, tmp_path / 'ditta.pth')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message) as caught:
        convert('ditta', tmp_path / 'ditta.pth', tmp_path / 'out', '--classes', classes)
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('method', ['ditta', 'segformer', 'sam2'])
def test_no_checkpoint(tmp_path: Path, method: str) -> None:
    with pytest.raises(UserError, match=r'no checkpoint .*nowhere\.pth: give the file'):
        convert(method, tmp_path / 'nowhere.pth', tmp_path / 'out')
    assert not list(tmp_path.iterdir())


def test_a_plain_segformer_has_no_addon(released_ditta, tmp_path: Path) -> None:
    plain = {name: value for name, value in released_ditta[1].items()
             if not name.startswith(('decode_head.query', 'decode_head.key', 'decode_head.proj_'))}
    torch.save({'state_dict': plain}, tmp_path / 'plain.pth')
    with pytest.raises(UserError, match=r'no add-on .* with `vseg convert segformer`'):
        convert('ditta', tmp_path / 'plain.pth', tmp_path / 'out')


def test_a_damaged_start_is_named(network, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path / 'out')
    save_file({'addon.query_layer.0.weight': torch.ones(2)},
              tmp_path / 'out' / 'ditta_initial.safetensors')
    pipeline = DittaPipeline(settings_from_values(DittaSettings, {
        'segmenter': str(tmp_path / 'out'), 'device': 'cpu', 'precision': 'float32'}))
    with pytest.raises(UserError, match=r'ditta_initial\.safetensors does not fit its segmenter'):
        pipeline._new_model()

"""The small SAM 2: its file, what can be wrong with one, and a video that it follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING
from vseg_ros.models.loading import load_segmenter, write_segmenter
from vseg_ros.models.nano_sam2 import (
    ENCODER,
    nano_sam2_config,
    new_nano_sam2,
    read_nano_sam2,
    write_nano_sam2,
)
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.tracker import create_tracker
from vseg_ros.weights import find_weights

HEIGHT, WIDTH = 48, 80
FRAMES = np.random.default_rng(0).integers(0, 256, (6, HEIGHT, WIDTH, 3)).astype(np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
MASK[10:30, 20:50] = True


def drawn(seed: int = 0) -> Sam2VideoModel:
    torch.manual_seed(seed)
    return new_nano_sam2(side=64, width=64)


@pytest.fixture(scope='module')
def model() -> Sam2VideoModel:
    model = drawn().eval()
    # untrained, it would take one object for hidden and another for visible
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(9)
    return model


@pytest.fixture(scope='module')
def written(model: Sam2VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('nano') / 'nano.safetensors'
    write_nano_sam2(model, path)
    return path


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework='pt') as stored:
        return load_file(path), dict(stored.metadata())


def test_a_file_brings_every_weight_back(model: Sam2VideoModel, written: Path) -> None:
    torch.manual_seed(7)
    expected_next = torch.rand(1)
    torch.manual_seed(7)
    loaded = read_nano_sam2(written)
    assert torch.equal(torch.rand(1), expected_next)
    assert not loaded.training
    assert not any(each.requires_grad for each in loaded.parameters())
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    for name, value in found.items():
        assert value.dtype == torch.float32
        original = expected[name] if '.backbone.' in name else expected[name].half().float()
        assert torch.equal(value, original), name
    stored, metadata = parts(written)
    assert not any('backbone' in name for name in stored)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert metadata['encoder'] == ENCODER
    assert (metadata['side'], metadata['width']) == ('64', '64')


def test_a_new_model_has_one_encoding_of_places_a_frozen_encoder_and_no_dead_layer(
        model: Sam2VideoModel) -> None:
    state = model.state_dict()
    assert torch.equal(state['prompt_encoder.shared_embedding.positional_embedding'],
                       state['shared_image_embedding.positional_embedding'])
    encoder = load_segmenter(ENCODER).backbone.encoder.state_dict()
    for name, value in model.vision_encoder.backbone.segformer.state_dict().items():
        assert torch.equal(value, encoder[name]), name
    for name, value in model.named_parameters():
        assert value.requires_grad == ('.backbone.' not in name), name
        assert value.isfinite().all(), name
        # transformers leaves embeddings at zero; the last one here is in no step
        if value.ndim > 1 and name != 'no_memory_positional_encoding':
            assert value.abs().max() > 0, name


def test_another_seed_draws_other_weights(model: Sam2VideoModel) -> None:
    name = 'mask_decoder.conv_s0.weight'
    assert torch.equal(drawn().state_dict()[name], model.state_dict()[name])
    assert not torch.equal(drawn(1).state_dict()[name], model.state_dict()[name])


@pytest.mark.parametrize('sizes', [(100, 64), (0, 64), (64, 100), (64, 0)])
def test_other_sizes_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match='multiple of 32'):
        nano_sam2_config(*sizes)


@pytest.fixture
def other_b0(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / 'other-b0.safetensors'
    write_segmenter(new_segformer(DRIVING, 'b0'), path, 'b0')
    return path


def test_it_sees_through_the_encoder_it_was_trained_with(other_b0: Path, written: Path,
                                                         tmp_path: Path) -> None:
    own = tmp_path / 'own.safetensors'
    write_nano_sam2(new_nano_sam2(str(other_b0), 64, 64), own, str(other_b0))
    read_nano_sam2(own)
    state, metadata = parts(written)
    save_file(state, own, metadata | {'encoder': str(other_b0)})
    with pytest.raises(UserError, match=r'trained on another .*other-b0'):
        read_nano_sam2(own)
    other_b0.unlink()
    with pytest.raises(UserError, match=r'own\.safetensors needs the encoder of .*other-b0'):
        read_nano_sam2(own)


def test_only_a_b0_lends_its_encoder(tmp_path: Path, ocrnet_file: Path) -> None:
    write_segmenter(new_segformer(DRIVING, 'b1'), tmp_path / 'b1.safetensors', 'b1')
    for path in (tmp_path / 'b1.safetensors', ocrnet_file):
        with pytest.raises(UserError, match='name a SegFormer-B0'):
            new_nano_sam2(str(path), 64, 64)


def truncated(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b'')


def no_metadata(path: Path, _: Path) -> None:
    save_file(parts(path)[0], path)


def a_segmenter(path: Path, _: Path) -> None:
    bundled = find_weights(ENCODER).path
    assert bundled is not None
    path.write_bytes(bundled.read_bytes())


def without(key: str) -> Callable[[Path, Path], None]:
    def damage(path: Path, _: Path) -> None:
        state, metadata = parts(path)
        save_file(state, path, {k: v for k, v in metadata.items() if k != key})
    damage.__name__ = f'without_{key}'
    return damage


def replaced(key: str, value: str) -> Callable[[Path, Path], None]:
    def damage(path: Path, _: Path) -> None:
        state, metadata = parts(path)
        save_file(state, path, metadata | {key: value})
    damage.__name__ = f'{key}_{value}'
    return damage


def lacks_a_weight(path: Path, _: Path) -> None:
    state, metadata = parts(path)
    del state['mask_decoder.conv_s0.weight']
    save_file(state, path, metadata)


def has_a_weight_more(path: Path, _: Path) -> None:
    state, metadata = parts(path)
    save_file(state | {'more': torch.zeros(1)}, path, metadata)


@pytest.mark.parametrize('damage', [
    truncated, empty, no_metadata, a_segmenter, without('encoder'), without('side'),
    without('encoder_digest'), replaced('side', 'large'), replaced('side', '70'),
    replaced('width', '128'), replaced('width', '7'), lacks_a_weight, has_a_weight_more])
def test_damaged_and_foreign_files_are_the_users_error(
        damage: Callable[[Path, Path], None], written: Path, tmp_path: Path) -> None:
    path = tmp_path / 'damaged.safetensors'
    path.write_bytes(written.read_bytes())
    damage(path, tmp_path)
    with pytest.raises(UserError) as caught:
        create_tracker(str(path))
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('order', [range(6), range(5, -1, -1)])
def test_a_tracker_follows_points_and_masks(written: Path, order: range) -> None:
    tracker = create_tracker(str(written))
    session = tracker.open()
    for frame in FRAMES:
        session.append(frame)
    start, *rest = order
    given = session.add_mask(start, 1, MASK)
    assert (given != MASK).mean() < 0.05
    session.add_points(start, 2, [(30, 20), (5, 5)], [True, False])
    session.add_point(start, 3, (60, 40))
    for index in rest:
        masks = session.track(index)
        assert set(masks) == {1, 2, 3}
        assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == np.bool_
                   for mask in masks.values())
    alone = create_tracker(str(written)).open()
    for frame in FRAMES:
        alone.append(frame)
    alone.add_points(start, 2, [(30, 20), (5, 5)], [True, False])
    for index in rest:
        alone.track(index)
    torch.testing.assert_close(session.logits[2], alone.logits[2], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(session.logits[2], session.logits[3], atol=1e-3)


def test_it_runs_in_half_precision(written: Path) -> None:
    session = create_tracker(str(written), 'cpu', 'bfloat16').open()
    for frame in FRAMES[:3]:
        session.append(frame)
    session.add_points(0, 1, [(30, 20), (5, 5)], [True, False])
    session.add_mask(0, 2, MASK)
    session.track(1)
    assert set(session.track(2)) == {1, 2}
    assert session.logits[1].dtype == torch.bfloat16

"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vseg_ros  # noqa: F401  (before torch, as in the programs)

# Processes that share a run of the tests share the cores.
WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
os.environ.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // WORKERS, 1)))


@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache of exported graphs for the whole run: an export takes longer than a test."""
    folder = tmp_path_factory.getbasetemp()
    # The processes of a run have a folder each, in one that they share.
    cache = (folder if WORKERS == 1 else folder.parent) / 'cache'
    cache.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
        yield cache


@pytest.fixture
def nothing_left(tmp_path: Path) -> Callable[..., None]:
    """Check that `tmp_path` holds these names and no temporary beside them."""
    def check(*names: str) -> None:
        assert sorted(os.listdir(tmp_path)) == sorted(names)
    return check


@pytest.fixture(scope='session')
def tiny_sam2() -> dict[str, Any]:
    """Arguments of the smallest video SAM 2 that transformers builds, for 64 x 64 images."""
    side = 64
    backbone = {
        'model_type': 'sam2_hiera_det_model', 'hidden_size': 8, 'image_size': [side, side],
        'blocks_per_stage': [1, 1, 2, 1], 'embed_dim_per_stage': [8, 16, 32, 64],
        'num_attention_heads_per_stage': [1, 1, 2, 2], 'global_attention_blocks': [3],
        'window_size_per_stage': [4, 4, 4, 4],
        'window_positional_embedding_background_size': [4, 4]}
    vision = {
        'model_type': 'sam2_vision_model', 'backbone_config': backbone,
        'backbone_channel_list': [64, 32, 16, 8],
        'backbone_feature_sizes': [[16, 16], [8, 8], [4, 4]], 'fpn_hidden_size': 128}
    return {
        'vision_config': vision, 'image_size': side, 'num_maskmem': 4,
        'max_object_pointers_in_encoder': 5,
        'prompt_encoder_config': {'hidden_size': 128, 'image_size': side},
        'mask_decoder_config': {'hidden_size': 128, 'mlp_dim': 64, 'iou_head_hidden_dim': 32},
        'memory_attention_hidden_size': 128, 'memory_attention_num_layers': 2,
        'memory_attention_rope_feat_sizes': [4, 4], 'memory_encoder_hidden_size': 128,
        'memory_encoder_output_channels': 64, 'mask_downsampler_embed_dim': 128,
        'memory_fuser_embed_dim': 128, 'memory_fuser_intermediate_dim': 64}


@pytest.fixture(scope='session')
def tiny_virst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VIRST that is untrained and small, as a file."""
    import torch

    from vseg_ros.virst.nano import NanoVirstSettings, new_nano_virst, write_nano_virst
    from vseg_ros.virst.nano_language_model import NanoLanguageSettings
    settings = NanoVirstSettings(
        side=192, heads=2, layers=1, frames=3,
        language=NanoLanguageSettings(width=24, layers=1, heads=2, prompt_count=2, grid=6))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = new_nano_virst(settings, ('the', 'red', 'white', 'car'))
    path = tmp_path_factory.mktemp('weights') / 'tiny-virst.safetensors'
    write_nano_virst(model, settings, path)
    return path

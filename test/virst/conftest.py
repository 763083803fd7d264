"""
Two tiny clips to train on, and the released VIRST and its base model as files, at a tiny size.

`released/` holds what a tiny model of the authors' code has: names and shapes of its tensors
(`tensors.txt`, those of the base model in `base_tensors.txt`), and the hidden states that it
computed with `tensor_value`s (`states.txt`).
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VisionConfig

from vseg_ros.models.encoded_clips import EncodedClip
from vseg_ros.training_settings import VirstTrainingSettings
from vseg_ros.virst.claims import ThingClaims
from vseg_ros.virst.training_batches import Question, QuestionedClips

RELEASED = Path(__file__).parent / 'released'
SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>')
RANK, ALPHA = 4, 16.0


def tensor_value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor that its name decides, of a size that keeps states near 1."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    values = values.astype(np.float32)
    if '.lora_' in name:
        values *= 0.1
    elif len(shape) > 1:
        values /= np.sqrt(np.prod(shape[1:], dtype=np.float32))
    else:
        values = 0.2 * values + ('norm' in name and name.endswith('weight'))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def stored_tensors(file: str) -> dict[str, torch.Tensor]:
    """Tensors with the names and shapes of a list."""
    lines = [line.split(' ') for line in (RELEASED / file).read_text().splitlines()]
    shapes = {line[0]: tuple(int(side) for side in line[1].split('x')) if line[1:] else ()
              for line in lines}
    return {name: tensor_value(name, shape) for name, shape in shapes.items()}


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes in the form of Qwen2's."""
    vocabulary = {mark: place for place, mark in enumerate(sorted(ByteLevel.alphabet()))}
    added = {mark: len(vocabulary) + place for place, mark in enumerate(SPECIAL)}
    (folder / 'vocab.json').write_text(json.dumps(vocabulary))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    (folder / 'added_tokens.json').write_text(json.dumps(added))
    (folder / 'tokenizer_config.json').write_text(json.dumps({
        'tokenizer_class': 'Qwen2Tokenizer', 'eos_token': '<|im_end|>', 'bos_token': None,
        'pad_token': '<|endoftext|>', 'model_max_length': 32768, 'unk_token': None,
        'additional_special_tokens': list(SPECIAL[1:]),
        'added_tokens_decoder': {str(place): {'content': mark, 'special': True}
                                 for mark, place in added.items()}}))


@dataclass(frozen=True)
class ReleasedFiles:
    """
    What a user has.

    Attributes:
        checkpoint: the authors' file.
        state: what is in it.
        base: folder of the base model.
        sam2: folder with the configuration of SAM 2.

    """

    checkpoint: Path
    state: dict[str, torch.Tensor]
    base: Path
    sam2: Path


@pytest.fixture(scope='session')
def released(tmp_path_factory: pytest.TempPathFactory) -> ReleasedFiles:
    """All files of a conversion; not to be changed."""
    folder = tmp_path_factory.mktemp('released')
    state = stored_tensors('tensors.txt')
    torch.save({'model_state_dict': state}, folder / 'virst.pt')
    base, sam2 = folder / 'base', folder / 'sam2'
    base.mkdir()
    write_tokenizer(base)
    (base / 'config.json').write_text(json.dumps(base_config()))
    save_file(stored_tensors('base_tensors.txt'), base / 'model.safetensors')
    sam2_config().save_pretrained(sam2)
    return ReleasedFiles(folder / 'virst.pt', state, base, sam2)


def base_config() -> dict[str, Any]:
    """What counts in the base model's config.json."""
    return {
        'model_type': 'videochat_flash_qwen', 'mm_vision_tower': 'umt-hd-large',
        'auto_map': {'AutoConfig': 'modeling_videochat_flash.VideoChatFlashQwenConfig'},
        'hidden_size': 64, 'intermediate_size': 96, 'num_hidden_layers': 2,
        'num_attention_heads': 4, 'num_key_value_heads': 2, 'hidden_act': 'silu',
        'max_position_embeddings': 32768, 'rms_norm_eps': 1e-6, 'rope_theta': 1e6,
        'tie_word_embeddings': False, 'bos_token_id': 256, 'eos_token_id': 258}


def sam2_config() -> Sam2VideoConfig:
    """SAM 2.1 as the tiny released model has it."""
    hiera = Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128], num_attention_heads_per_stage=[1, 2, 4, 8],
        global_attention_blocks=[3], window_size_per_stage=[8, 4, 16, 8])
    vision = Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=[128, 64, 32, 16])
    return Sam2VideoConfig(
        vision_config=vision, memory_attention_num_layers=2,
        enable_temporal_pos_encoding_for_object_pointers=True,
        enable_occlusion_spatial_embedding=True)


FRAMES, SIDE = 3, 32
"""Of the two clips."""
QUESTIONS = [Question('the left one', 'it is the left one', frozenset({1})),
             Question('the right one', 'it is the right one', frozenset({2})),
             Question('both', 'it is both', frozenset({1, 2})),
             Question('a tree', 'no tree', frozenset())]


class TwoClips:
    """Two squares that drift; the encoder's maps are noise with the squares in it."""

    def __init__(self, asked: int = len(QUESTIONS)) -> None:
        self._asked = asked

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> EncodedClip:
        generator = torch.Generator().manual_seed(index)
        regions = torch.zeros(FRAMES, SIDE, SIDE, dtype=torch.int32)
        for frame in range(FRAMES):
            regions[frame, 8:20, 2 + 2 * frame:10 + 2 * frame] = 1
            regions[frame, 8 + 4 * index:24, 20:30] = 2
        maps = []
        for level, channels in enumerate((32, 64, 160, 256)):
            side = 16 // 2 ** level
            noise = torch.randn(FRAMES, side, side, channels, generator=generator)
            near = torch.nn.functional.adaptive_avg_pool2d(regions.float()[:, None], side)
            noise[..., :8] += 3 * near[:, 0, ..., None]
            maps.append(noise.half())
        return EncodedClip(tuple(maps), regions, '')

    def questions(self, index: int, count: int, random: np.random.Generator) -> list[Question]:
        return [QUESTIONS[each] for each in random.permutation(self._asked)[:count]]

    def claims(self, index: int) -> ThingClaims | None:
        if index:
            return None
        truth = torch.tensor([[1.0, 0.0, math.nan], [0.0, 1.0, 1.0]])
        return ThingClaims(torch.tensor([1, 2]), truth, torch.tensor([0.0, 0.0, math.nan]))


@pytest.fixture
def two_clips() -> Callable[..., QuestionedClips]:
    """Make two clips, with the first so many questions."""
    return TwoClips


def training_settings(stage: int, **values: object) -> VirstTrainingSettings:
    return VirstTrainingSettings.model_validate(
        {'stage': stage, 'steps': 4, 'batch': 2, 'questions': 3, 'frames': FRAMES,
         'grounding': 1.0, 'learning_rate': 3e-3, 'warmup_steps': 1, 'checkpoint_every': 1}
        | values)


@pytest.fixture
def make_settings() -> Callable[..., VirstTrainingSettings]:
    """Make settings of a stage for the two clips."""
    return training_settings

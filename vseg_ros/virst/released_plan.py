"""
What of the released VIRST and of its base model goes where, checked before anything is written.

What the checkpoint lacks of the language model comes from the base model, as when the authors load
it; of the base model's vocabulary, only the rows that the tokenizer with [SEG] knows are kept.
Every weight must have its place and every place its weight, of the right shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer, Sam2VideoConfig
from transformers import Sam2VideoModel as Sam2

from vseg_ros.errors import UserError
from vseg_ros.models.pretrained import explained, find_pretrained
from vseg_ros.models.released_sam2 import sam2_config
from vseg_ros.models.sam2_keys import known_config, transformers_sam2
from vseg_ros.models.weight_places import check_places, shapes_of
from vseg_ros.virst.decoder_language_model import END_OF_TURN, PROMPT_TOKEN
from vseg_ros.virst.frame_prompts import FramePrompter
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.memory_fit import local_folder, read_header
from vseg_ros.virst.released_checkpoint import (
    PARTS,
    ReleasedWeights,
    read_released,
    split_released,
)
from vseg_ros.virst.released_keys import released_frame_prompts, released_initial_fusion
from vseg_ros.virst.released_language import (
    decoder_config,
    low_rank_names,
    merged,
    released_vision,
    vision_size,
)
from vseg_ros.virst.video_chat_flash import PROMPTS, VideoChatFlashSize, VideoTokens

BASE = 'OpenGVLab/VideoChat-Flash-Qwen2-7B_res448'
WHAT = 'VideoChat-Flash model'
EMBEDDINGS, HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
FUSION_CONVOLUTION = 'grid.convolutions.0.weight'


class DecoderWeights:
    """
    The decoder's weights, read when they are asked for.

    Args:
        released: of the checkpoint; they come first.
        low_rank: the matrices beside them.
        base: file of each weight that the base model has.
        vocabulary: rows that are kept of the base model's embeddings and head.

    """

    def __init__(self, released: Mapping[str, Tensor], low_rank: Mapping[str, Tensor],
                 base: Mapping[str, Path], vocabulary: int) -> None:
        self.low_rank = dict(low_rank)
        self._released = dict(released)
        self._base = dict(base)
        self._headers = {name: tuple(entry['shape']) for file in set(base.values())
                         for name, entry in read_header(file).items()}
        self._vocabulary = vocabulary

    @property
    def names(self) -> list[str]:
        """All names."""
        return sorted({*self._released, *self._base})

    def shape(self, name: str) -> tuple[int, ...]:
        """Tell a weight's shape."""
        if name in self._released:
            return tuple(self._released[name].shape)
        rows, *others = self._headers[name]
        return (min(rows, self._vocabulary) if name in (EMBEDDINGS, HEAD) else rows, *others)

    def byte_count(self, name: str) -> int:
        """Tell about how many bytes a weight takes."""
        released = self._released.get(name)
        return math.prod(self.shape(name)) * (2 if released is None else released.itemsize)

    def read(self, name: str, alpha: float | None) -> Tensor:
        """
        Read a weight, in the number format that it is stored in.

        Args:
            name: of the weight.
            alpha: of the low-rank matrices, which are added; None leaves them out.

        """
        weight = self._released.get(name)
        if weight is None:
            weight = _read_base(name, self._base[name])[:self.shape(name)[0]]
        return weight if alpha is None else merged(name, weight, self.low_rank, alpha)


@dataclass(frozen=True, eq=False)
class Conversion:
    """
    All parts, under our names.

    Attributes:
        tokenizer: of the base model, with the [SEG] token.
        decoder: Qwen2's weights.
        decoder_config: its configuration.
        language: size of the rest of the language model.
        video: the vision tower and the projector.
        initial_fusion: STF's first fusion.
        frame_prompts: STF's second fusion.
        sam2: SAM 2, as transformers names it.
        sam2_config: its configuration.

    """

    tokenizer: Any
    decoder: DecoderWeights
    decoder_config: Qwen2Config
    language: VideoChatFlashSize
    video: dict[str, Tensor]
    initial_fusion: dict[str, Tensor]
    frame_prompts: dict[str, Tensor]
    sam2: dict[str, Tensor]
    sam2_config: Sam2VideoConfig


def plan_conversion(checkpoint: Path, base: str = BASE, sam2: str | None = None) -> Conversion:
    """
    Read all names and shapes, and check that everything has its place.

    Args:
        checkpoint: the authors' file.
        base: folder or hub id of VideoChat-Flash-Qwen2.
        sam2: folder or hub id with the configuration of the checkpoint's SAM 2; None tells the
            published ones by their size.

    Raises:
        UserError: a file is missing, damaged, or of another model.

    """
    released = read_released(checkpoint)
    folder = local_folder(base, WHAT)
    settings = _read_base_config(folder)
    tokenizer = _read_tokenizer(folder)
    files = _base_files(folder)
    _complete(released, files)
    decoder = _decoder(released, files, tokenizer)
    vision = released_vision(released.vision)
    renamed = transformers_sam2(released.sam2)
    plan = Conversion(
        tokenizer, decoder, decoder_config(settings, decoder.shape(EMBEDDINGS)[0]),
        VideoChatFlashSize(vision_size(settings, vision), PROMPTS),
        {**{f'tower.{name}': value for name, value in vision.items()},
         **{f'projector.{name}': value for name, value in released.projector.items()}},
        released_initial_fusion(released.initial_fusion),
        released_frame_prompts(released.frame_prompts), renamed,
        known_config(renamed) if sam2 is None else sam2_config(sam2))
    _check_all(plan)
    return plan


def _read_base_config(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / 'config.json').read_text())
    except (OSError, ValueError) as error:
        raise UserError(f'{folder} holds no readable config.json: give the folder of {BASE}, '
                        'downloaded whole') from error
    if not isinstance(settings, dict) or 'mm_vision_tower' not in settings:
        raise UserError(f'{folder} is another model: give the folder of {BASE}')
    return settings


def _read_tokenizer(folder: Path) -> Any:
    """Read the base model's tokenizer and add what VIRST adds."""
    with explained(find_pretrained(str(folder), WHAT), 'tokenizer'):
        # By its class: the automatic one would ask to run the base model's own code.
        tokenizer = Qwen2Tokenizer.from_pretrained(str(folder))
    # A folder without its files makes a tokenizer that knows nothing.
    if END_OF_TURN not in tokenizer.get_vocab():
        raise UserError(f'{folder} lacks its tokenizer: give the folder of {BASE}, downloaded '
                        'whole')
    tokenizer.add_tokens([PROMPT_TOKEN])
    return tokenizer


def _base_files(folder: Path) -> dict[str, Path]:
    """Tell which file of the base model holds which weight; the folder may hold none."""
    return {name: file for file in sorted(folder.glob('*.safetensors'))
            for name in read_header(file)}


def _complete(released: ReleasedWeights, files: Mapping[str, Path]) -> None:
    """Take what the checkpoint lacks of the vision tower and the projector from the base model."""
    for prefix, part in PARTS.items():
        if part not in ('vision', 'projector'):
            continue
        held = getattr(released, part)
        for name, file in files.items():
            short = name.removeprefix(prefix)
            if short != name and short not in held:
                held[short] = _read_base(name, file)


def _read_base(name: str, file: Path) -> Tensor:
    try:
        with safe_open(file, framework='pt') as weights:
            tensor: Tensor = weights.get_tensor(name)
            return tensor
    except (OSError, SafetensorError) as error:
        raise UserError(f'{file} is damaged: download it again') from error


def _decoder(released: ReleasedWeights, files: Mapping[str, Path],
             tokenizer: Any) -> DecoderWeights:
    """Bring the decoder's weights together and see that every token has its row."""
    ours = split_released(dict.fromkeys(files, torch.empty(0))).decoder
    base = {name: file for name, file in files.items() if name in ours}
    if EMBEDDINGS not in base and EMBEDDINGS not in released.decoder:
        raise UserError(f'neither the checkpoint nor the base model has {EMBEDDINGS}: give the '
                        f'folder of {BASE}, downloaded whole')
    decoder = DecoderWeights(released.decoder, released.low_rank, base, len(tokenizer))
    rows = decoder.shape(EMBEDDINGS)[0]
    if rows != len(tokenizer):
        raise UserError(f'the checkpoint knows {rows} tokens, but the tokenizer with '
                        f'{PROMPT_TOKEN} has {len(tokenizer)}: give the base model that it was '
                        'trained from')
    return decoder


def _check_all(plan: Conversion) -> None:
    decoder = {name: plan.decoder.shape(name) for name in plan.decoder.names}
    width = plan.decoder_config.hidden_size
    with torch.device('meta'):
        for what, shapes, model in (
                ('language model', decoder, Qwen2ForCausalLM(plan.decoder_config)),
                ('vision tower', shapes_of(plan.video), VideoTokens(plan.language.vision, width)),
                ('first fusion', shapes_of(plan.initial_fusion),
                 initial_fusion(plan.initial_fusion, width)),
                ('second fusion', shapes_of(plan.frame_prompts),
                 frame_prompter(plan.frame_prompts, width)),
                ('SAM 2', shapes_of(plan.sam2), Sam2(plan.sam2_config))):
            check_places(what, shapes, model, 'download it and its base model again')
    used = {matrix for name in plan.decoder.names for matrix in low_rank_names(name)}
    lost = sorted(set(plan.decoder.low_rank) - used)
    if lost:
        raise UserError(f'the checkpoint has a low-rank matrix without a layer, {lost[0]!r}: '
                        'download it again')


def initial_fusion(state: Mapping[str, Tensor], width: int) -> InitialFusion:
    """Make the first fusion of the size of its weights."""
    grid_width, features = state[FUSION_CONVOLUTION].shape[:2]
    return InitialFusion(features, width, grid_width)


def frame_prompter(state: Mapping[str, Tensor], width: int) -> FramePrompter:
    """Make the second fusion of the size of its weights."""
    prompt_width, features = state[FUSION_CONVOLUTION].shape[:2]
    layers = len({name.split('.')[1] for name in state if name.startswith('layers.')})
    return FramePrompter(width, prompt_width, features, layers=layers)

"""
VIRST at the size of a robot's GPU: InternVL of about 2 B parameters, SAM 2.1 tiny at 1024, bf16.

Weights are random and the architectures are written down here, so nothing is downloaded; random
weights change no speed but that of the words: an untrained model does not end its answer, so every
question pays for the most words there can be (`answer` of the language model), which the paper's
figure may not hold. Both rates are measured. The tokenizer is one of bytes, which makes the text,
a small part of the sequence beside the visual tokens, about four times as long.
"""

from __future__ import annotations

import time
from typing import Any, cast

import tokenizers
import torch
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    PreTrainedTokenizerFast,
    Sam2VideoModel,
)

from vseg_ros.evaluation.bench.measure import Spread
from vseg_ros.evaluation.bench.questions import QUESTIONS
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.frame import Frame
from vseg_ros.models.sam2_keys import hiera_config
from vseg_ros.settings import VirstSettings
from vseg_ros.virst.chat_language_model import ChatLanguageModel
from vseg_ros.virst.decoder_language_model import END_OF_TURN, Tokenizer
from vseg_ros.virst.frame_prompts import FramePrompter
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.model import Virst
from vseg_ros.virst.query import VirstQuery

PAPER_FPS = 5.1
"""Frames a second in the paper."""
SIZE = (720, 1280)
"""Height and width of the frames."""
WINDOW = 30
CELL = 128
"""Pixels of SAM 2's image a cell of both fusions' grids: 8 x 8 at 1024."""
VOCABULARY = 151_936
LARGE: dict[str, Any] = {
    'vision_config': {'hidden_size': 1024, 'num_hidden_layers': 24, 'num_attention_heads': 16,
                      'intermediate_size': 4096, 'image_size': [448, 448],
                      'patch_size': [14, 14]},
    'text_config': {'model_type': 'qwen3', 'hidden_size': 2048, 'num_hidden_layers': 28,
                    'num_attention_heads': 16, 'num_key_value_heads': 8, 'head_dim': 128,
                    'intermediate_size': 6144, 'vocab_size': VOCABULARY,
                    'max_position_embeddings': 40960, 'tie_word_embeddings': True,
                    'bos_token_id': None, 'eos_token_id': None, 'pad_token_id': None},
    'image_token_id': 0}
"""InternVL 3.5 of 2 B parameters: InternViT-300M and Qwen3-1.7B."""


def byte_tokenizer() -> Tokenizer:
    """Make a tokenizer of bytes with the marks of a conversation."""
    alphabet = {mark: place for place, mark in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = tokenizers.Tokenizer(BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([tokenizers.AddedToken(mark, special=True) for mark in (
        '<|im_start|>', END_OF_TURN, '<img>', '</img>')])
    made: Any = PreTrainedTokenizerFast
    return cast('Tokenizer', made(tokenizer_object=tokenizer, eos_token=END_OF_TURN))


def new_large_virst(device: torch.device, dtype: torch.dtype,
                    language: dict[str, Any] | None = None,
                    sam: Sam2VideoModel | None = None) -> Virst:
    """
    Make a VIRST of random weights.

    Args:
        device: where it shall run.
        dtype: of SAM 2 and the language model.
        language: settings of `InternVLConfig`; None: `LARGE`.
        sam: a SAM 2 that is there already; None: SAM 2.1 tiny at 1024.

    """
    with torch.device(device):
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            spoken = InternVLForConditionalGeneration(
                InternVLConfig.from_dict(language or LARGE))
            seen: Any = sam or Sam2VideoModel(hiera_config(96, 12, True, True))
        finally:
            torch.set_default_dtype(default)
        chat = ChatLanguageModel(spoken, byte_tokenizer())
        width, grid = seen.config.mask_decoder_config.hidden_size, seen.image_size // CELL
        initial = InitialFusion(width, chat.width, width, grid)
        prompter = FramePrompter(chat.width, width, width, grid)
    model = Virst(seen.to(device, dtype), chat, initial, prompter)
    return model.to(device).eval().requires_grad_(False)


def time_large_questions(device: str, rounds: int, window: int = WINDOW,
                         size: tuple[int, int] = SIZE, dtype: str = 'bfloat16',
                         language: dict[str, Any] | None = None,
                         sam: Sam2VideoModel | None = None) -> dict[str, float]:
    """
    Time first questions, each about a window that the model has not seen.

    Args:
        device: 'cuda', or 'cpu' to see whether it works.
        rounds: questions that are timed, after one that is not.
        window: frames asked about.
        size: height and width of the frames.
        dtype: 'bfloat16' or 'float32'.
        language: of the language model; None: `LARGE`.
        sam: as `new_large_virst`.

    Returns:
        `large_fps` with quartiles, frames of the window a second of a question without words;
        `large_fps_over_paper`; `large_words_fps`, with the words; `large_second_fps`, of a second
        question about the window, without words; `large_parameters` of the language model in
        billions; `large_window_frames`.

    """
    torch.manual_seed(0)
    torch.set_float32_matmul_precision('high')
    model = new_large_virst(torch.device(device), getattr(torch, dtype), language, sam)
    query = _Wordless(VirstSettings(device=device), model)
    painted = street_frames(0, window, size)
    rates: dict[str, list[float]] = {'first': [], 'second': [], 'words': []}
    for number in range(rounds + 1):
        for name in rates:
            query.words = name == 'words'
            if name != 'second':
                painted = [Frame(frame.image, frame.stamp) for frame in painted]
            start = time.perf_counter()
            # the masks lie on the CPU: the device has finished when they are there
            query.ask(painted, QUESTIONS[(number + (name == 'second')) % len(QUESTIONS)])
            if number:
                rates[name].append(window / (time.perf_counter() - start))
    spread = Spread.of(rates['first'])
    assert isinstance(model.language, ChatLanguageModel)
    parameters = sum(value.numel() for value in model.language.model.parameters())
    return {**spread.flat('large_fps'), 'large_fps_over_paper': spread.median / PAPER_FPS,
            'large_words_fps': Spread.of(rates['words']).median,
            'large_second_fps': Spread.of(rates['second']).median,
            'large_parameters': parameters / 1e9, 'large_window_frames': float(window)}


class _Wordless(VirstQuery):
    """Leaves the words of the answer away if told so."""

    words = True

    def _words(self, prompted: Any, text: str) -> str:
        return super()._words(prompted, text) if self.words else ''

"""
A compact video-language model of transformers for a robot: InternVL (3.5 of 2 B parameters).

Of the compact families that transformers has, InternVL and SmolVLM put visual tokens into the
sequence as plain embeddings with plain positions, which is all that VIRST's first fusion leaves of
a sequence; InternVL has the stronger decoder (Qwen3). Frames are made square, one tile each, so
neither a processor of transformers nor torchvision is needed. The [SEG] token is added to the
tokenizer if it has none; its embedding starts as the mean of all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from vseg_ros.errors import UserError
from vseg_ros.models.pretrained import find_pretrained, read_config
from vseg_ros.settings import Precision
from vseg_ros.virst.decoder_language_model import PROMPT_TOKEN, DecoderLanguageModel, Tokenizer
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.low_rank import add_saved_low_rank, saved_low_rank
from vseg_ros.virst.memory_fit import load_fitting, local_folder
from vseg_ros.virst.square_pixels import square_pixels
from vseg_ros.virst.video_chat_flash import read_tokenizer

WHAT = 'video-language model'
DEFAULT = 'OpenGVLab/InternVL3_5-2B-HF'
FAMILY = 'internvl'
PROMPTS = 10


class ChatLanguageModel(DecoderLanguageModel):
    """
    InternVL with [SEG] tokens.

    Args:
        model: `InternVLForConditionalGeneration` of transformers.
        tokenizer: of the same checkpoint; gets the [SEG] token if it has none.
        prompts: N, number of [SEG] tokens.

    """

    def __init__(self, model: Any, tokenizer: Tokenizer, prompts: int = PROMPTS) -> None:
        add_prompt_token(model, tokenizer)
        super().__init__(tokenizer, model.config.text_config.hidden_size, prompts)
        self.model = model

    @classmethod
    def load(cls, name: str = DEFAULT, device: str = 'auto', precision: Precision = 'auto',
             four_bit: bool = False, prompts: int = PROMPTS) -> ChatLanguageModel:
        """
        Load a checkpoint.

        Args:
            name: a folder saved by transformers or by `save`, or a hub id.
            device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
            precision: 'auto' is float32 on a CPU and bfloat16 on a GPU.
            four_bit: whether the linear layers are loaded in 4 bits, on CUDA only.
            prompts: N, number of [SEG] tokens.

        Returns:
            The model in eval mode, without gradients.

        Raises:
            UserError: it is not there, damaged, of another family, or does not fit into the
                memory.

        """
        folder = local_folder(name, WHAT)
        family = read_config(find_pretrained(str(folder), WHAT), WHAT).model_type
        if family != FAMILY:
            raise UserError(f'{name} is of the family {family!r}, which is not supported: use one '
                            f'of {FAMILY!r}, such as {DEFAULT}')
        tokenizer = read_tokenizer(folder)
        loaded = load_fitting(AutoModelForImageTextToText, folder, WHAT, device, precision,
                              four_bit)
        model = cls(loaded, tokenizer, prompts)
        if saved_low_rank(folder) is not None:
            add_saved_low_rank(model.body, folder)
        return model.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write the model, without low-rank matrices, and its tokenizer, for `load`."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def body(self) -> nn.Module:
        """The decoder without its head."""
        body: nn.Module = self.model.model.language_model
        return body

    @property
    def head(self) -> nn.Module:
        """From hidden states to logits."""
        head: nn.Module = self.model.lm_head
        return head

    def encode_frames(self, clip: LanguageClip) -> Tensor:
        """Turn each frame into visual tokens, [T, n, D]."""
        side = self.model.config.vision_config.image_size[0]
        pixels = square_pixels(clip.images, side, self.device, self.dtype)
        tokens: Tensor = self.model.model.get_image_features(pixels).pooler_output
        return tokens

    def conversation(self, frames: int, question: str) -> list[str | int]:
        """Write the conversation as InternVL was trained on videos, frame by frame."""
        pieces: list[str | int] = ['<|im_start|>user\n']
        for frame in range(frames):
            pieces += [f'Frame{frame + 1}: <img>', frame, '</img>\n']
        asked = f'Find this in the video and segment it: {question}'
        return [*pieces, f'{asked}<|im_end|>\n<|im_start|>assistant\n']


def add_prompt_token(model: Any, tokenizer: Tokenizer) -> None:
    """Give a tokenizer and its model the [SEG] token, if they lack it."""
    if not tokenizer.add_tokens([PROMPT_TOKEN]):
        return
    known = len(tokenizer) - 1
    if model.get_input_embeddings().weight.shape[0] <= known:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[known] = layer.weight[:known].mean(dim=0)

"""
VideoChat-Flash-Qwen2-7B, the language model of the released VIRST.

Groups of four frames pass the vision tower (`umt_vision_tower`), are merged to 16 tokens a frame
(`token_merging`, `video_projector`) and stand in the user's turn; the decoder is Qwen2 of
transformers. The sentences around them are those the released checkpoint was trained with. As
there, a window whose length is no multiple of four ends with its last frame repeated.

A folder holds the decoder as transformers saves it, its tokenizer with the [SEG] token, and
`vision.json` and `vision.safetensors` beside them; `vseg convert virst` writes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer, Qwen2ForCausalLM

from vseg_ros.errors import UserError
from vseg_ros.models.pretrained import explained
from vseg_ros.settings import Precision
from vseg_ros.virst.decoder_language_model import PROMPT_TOKEN, DecoderLanguageModel, Tokenizer
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.low_rank import add_saved_low_rank, saved_low_rank
from vseg_ros.virst.memory_fit import load_fitting, local_folder
from vseg_ros.virst.square_pixels import square_pixels
from vseg_ros.virst.umt_vision_tower import GROUP, UmtVisionTower, VisionSize
from vseg_ros.virst.video_projector import VideoProjector
from vseg_ros.weights import Weights

WHAT = 'VideoChat-Flash model'
VISION_CONFIG, VISION_WEIGHTS = 'vision.json', 'vision.safetensors'
PROMPTS = 10
"""[SEG] tokens of the released VIRST."""

SYSTEM = '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'
# The released model was trained with the word "image" for videos too.
BEFORE_FRAMES = f'{SYSTEM}<|im_start|>user\nReference image: '
AFTER_QUESTION = '<|im_end|>\n<|im_start|>assistant\n'


@dataclass(frozen=True)
class VideoChatFlashSize:
    """
    What the decoder's own configuration does not tell.

    Attributes:
        vision: size of the vision tower.
        prompts: N, number of [SEG] tokens.

    """

    vision: VisionSize = field(default_factory=VisionSize)
    prompts: int = PROMPTS

    def write(self, folder: Path) -> None:
        """Write it beside the decoder."""
        (folder / VISION_CONFIG).write_text(json.dumps(asdict(self), indent=2) + '\n')

    @staticmethod
    def read(folder: Path) -> VideoChatFlashSize:
        """
        Read it.

        Raises:
            UserError: it is not there or unreadable.

        """
        try:
            values = json.loads((folder / VISION_CONFIG).read_text())
            return VideoChatFlashSize(VisionSize(**values['vision']), values['prompts'])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'{folder} holds no {WHAT} of ours ({VISION_CONFIG} is missing or '
                            'unreadable): make it with `vseg convert virst`') from error


class VideoTokens(nn.Module):
    """The vision tower and the projector behind it."""

    def __init__(self, size: VisionSize, width: int) -> None:
        super().__init__()
        self.size = size
        self.tower = UmtVisionTower(size)
        self.projector = VideoProjector(size.width, width, size.heads)

    def forward(self, pixels: Tensor) -> Tensor:
        """
        Encode frames.

        Args:
            pixels: [T, 3, side, side].

        Returns:
            [1, n, D]: 16 tokens a frame, 64 for a single image.

        """
        frames = 1 if len(pixels) == 1 else GROUP
        missing = -len(pixels) % frames
        whole = torch.cat((pixels, pixels[-1:].expand(missing, -1, -1, -1)))
        groups = self.tower(whole.reshape(-1, frames, *whole.shape[1:]))
        projected: Tensor = self.projector(groups, frames)
        return projected.flatten(0, 1)[None]


class VideoChatFlash(DecoderLanguageModel):
    """
    VideoChat-Flash with [SEG] tokens.

    Args:
        decoder: Qwen2 of transformers.
        video_tokens: in the same number format and place.
        tokenizer: with the [SEG] token.
        prompts: N, number of [SEG] tokens.

    """

    def __init__(self, decoder: Qwen2ForCausalLM, video_tokens: VideoTokens,
                 tokenizer: Tokenizer, prompts: int = PROMPTS) -> None:
        super().__init__(tokenizer, decoder.config.hidden_size, prompts)
        self.decoder = decoder
        self.video_tokens = video_tokens

    @classmethod
    def load(cls, name: str, device: str = 'auto', precision: Precision = 'auto',
             four_bit: bool = False) -> VideoChatFlash:
        """
        Load a folder written by `vseg convert virst`.

        Args:
            name: the folder, or a hub id of one.
            device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
            precision: 'auto' is float32 on a CPU and bfloat16 on a GPU.
            four_bit: whether the decoder is loaded in 4 bits, on CUDA only.

        Returns:
            The model in eval mode, without gradients.

        Raises:
            UserError: it is not there, damaged, or does not fit into the memory.

        """
        folder = local_folder(name, WHAT)
        size = VideoChatFlashSize.read(folder)
        tokenizer = read_tokenizer(folder)
        if PROMPT_TOKEN not in tokenizer.get_added_vocab():
            raise UserError(f'the tokenizer in {folder} has no {PROMPT_TOKEN} token: make the '
                            'folder anew with `vseg convert virst`')
        decoder = load_fitting(Qwen2ForCausalLM, folder, WHAT, device, precision, four_bit)
        assert isinstance(decoder, Qwen2ForCausalLM)
        if saved_low_rank(folder) is not None:
            add_saved_low_rank(decoder, folder)
        model = cls(decoder, _load_video_tokens(folder, size.vision, decoder.config.hidden_size),
                    tokenizer, size.prompts)
        model.video_tokens.to(model.device, model.dtype)
        return model.eval().requires_grad_(False)

    @property
    def body(self) -> nn.Module:
        """Qwen2 without its head."""
        body: nn.Module = self.decoder.model
        return body

    @property
    def head(self) -> nn.Module:
        """From hidden states to logits."""
        head: nn.Module = self.decoder.lm_head
        return head

    def encode_frames(self, clip: LanguageClip) -> Tensor:
        """Turn the frames into visual tokens, [1, n, D]."""
        pixels = square_pixels(clip.images, self.video_tokens.size.side, self.device, self.dtype)
        tokens: Tensor = self.video_tokens(pixels)
        return tokens

    def conversation(self, frames: int, question: str) -> list[str | int]:
        """Write the conversation; the visual tokens of all frames stand together."""
        asked = (f'{question} Please find it in the Reference image and respond with segmentation '
                 'mask in the Target Image.' if question.endswith('?') else
                 f'What is {question} in the Reference image? Please respond with segmentation '
                 'mask in the Target Image.')
        return [BEFORE_FRAMES, *range(frames), f' \n{asked}{AFTER_QUESTION}']


def read_tokenizer(folder: Path) -> Tokenizer:
    """
    Read the tokenizer of a checkpoint's folder.

    Raises:
        UserError: there is none, or it is damaged.

    """
    with explained(Weights(str(folder), 'folder', folder), 'tokenizer'):
        return cast('Tokenizer', AutoTokenizer.from_pretrained(str(folder)))


def _load_video_tokens(folder: Path, size: VisionSize, width: int) -> VideoTokens:
    model = VideoTokens(size, width)
    try:
        model.load_state_dict(load_file(folder / VISION_WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f'{folder / VISION_WEIGHTS} is missing, damaged or of another size: make '
                        'the folder anew with `vseg convert virst`') from error
    return model

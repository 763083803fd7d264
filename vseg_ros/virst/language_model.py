"""
What VIRST needs of a video-language model: the hidden states of its [SEG] tokens, and words.

    inputs = model.prepare(clips, questions)               # embeddings, where the [SEG] tokens are
    inputs = inputs.with_prompts(fused)                    # STF's first fusion takes their place
    outputs = model(inputs)                                # hidden states for the second fusion
    words = model.answer(inputs)

The sequence of a sample is: what the model makes of the frames, the question, the [SEG] tokens,
then (in training) the answer. As in the released code the [SEG] tokens are given, not generated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vseg_ros.frame import UInt8Array
from vseg_ros.virst.things import Sameness

IGNORED = -100
"""Label of a token that the token loss passes over, as PyTorch's cross entropy has it."""


@dataclass(frozen=True, eq=False)
class LanguageClip:
    """
    The sampled frames of one clip.

    Attributes:
        images: T frames, uint8 [H, W, 3], RGB, in order of time.
        features: float [T, C, h, w], SAM 2's features of the same frames at stride 16.
        maps: float [T, h_i, w_i, C_i] each, what the backbone of SAM 2's image encoder made of
            the frames, finest first; a small model sees through them alone.

    """

    images: Sequence[UInt8Array]
    features: Tensor
    maps: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class LanguageInputs:
    """
    B samples, padded at the end to L tokens.

    Attributes:
        embeddings: float [B, L, D].
        mask: bool [B, L], True where a token is real.
        prompts: int64 [B, N], places of the [SEG] tokens in each sample.
        labels: int64 [B, L], the token that stands at each place where it is to be learnt (the
            answer), else `IGNORED`; None without answers.

    """

    embeddings: Tensor
    mask: Tensor
    prompts: Tensor
    labels: Tensor | None = None

    def prompt_embeddings(self) -> Tensor:
        """Return the embeddings of the [SEG] tokens, [B, N, D]."""
        return gather_tokens(self.embeddings, self.prompts)

    def with_prompts(self, prompts: Tensor) -> LanguageInputs:
        """Put others, [B, N, D], in their place."""
        places = self.prompts[..., None].expand(-1, -1, self.embeddings.shape[2])
        changed = self.embeddings.scatter(1, places, prompts.to(self.embeddings.dtype))
        return replace(self, embeddings=changed)


@dataclass(frozen=True, eq=False)
class LanguageOutputs:
    """
    What comes of B samples.

    Attributes:
        prompts: float [B, N, D], last hidden states at the [SEG] tokens.
        token_loss: mean cross entropy of the answer's tokens, a scalar; 0 without answers.
        grounding: float [B, T, g, g], logits of where the model itself sees what is asked for;
            None if it does not say.
        sameness: which cells of that show the same thing; None if it does not say.
        doubts: float [B], 0..1, how likely nothing matches; None if it does not say.

    """

    prompts: Tensor
    token_loss: Tensor
    grounding: Tensor | None = None
    sameness: Sameness | None = None
    doubts: Tensor | None = None


class VideoLanguageModel(nn.Module, ABC):
    """
    A video-language model as VIRST sees it.

    Attributes:
        width: D, of its hidden states.
        prompt_count: N, number of [SEG] tokens a question gets.

    """

    width: int
    prompt_count: int

    @abstractmethod
    def prepare(self, clips: Sequence[LanguageClip], questions: Sequence[str],
                answers: Sequence[str] | None = None) -> LanguageInputs:
        """
        Turn clips and text into tokens.

        Args:
            clips: B clips.
            questions: a sentence each.
            answers: what the model should say, each after its [SEG] tokens; for training.

        """

    @abstractmethod
    def forward(self, inputs: LanguageInputs) -> LanguageOutputs:
        """Run the model over whole sequences."""

    @abstractmethod
    def answer(self, inputs: LanguageInputs, most_tokens: int = 32) -> list[str]:
        """
        Generate words after the [SEG] tokens, greedily.

        Args:
            inputs: without answers.
            most_tokens: where to stop at the latest.

        Returns:
            B sentences.

        """


def gather_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Take the tokens at `places`, int64 [B, N], out of [B, L, D]."""
    return torch.gather(tokens, 1, places[..., None].expand(-1, -1, tokens.shape[2]))

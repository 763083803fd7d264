"""
What every language model with a causal decoder shares: the sequence, the loss, the answer.

A model says how it writes a conversation about a clip, in text and visual tokens; here it is
tokenised, given its [SEG] tokens, embedded, padded and run. A sequence is

    conversation up to the assistant's turn | It is (0) [SEG], ..., (9) [SEG]. | answer

as in the released VIRST. The decoder is causal, so the answer changes nothing at the [SEG] tokens.
What a sentence holds of the tokenizer's own marks, such as [SEG], is taken out of it.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from vseg_ros.virst.language_model import (
    IGNORED,
    LanguageClip,
    LanguageInputs,
    LanguageOutputs,
    VideoLanguageModel,
    gather_tokens,
)

PROMPT_TOKEN = '[SEG]'
END_OF_TURN = '<|im_end|>'


class Tokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    eos_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
        """Turn text into an object with `input_ids`."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Turn ids into text."""
        ...

    def get_added_vocab(self) -> dict[str, int]:
        """Return the tokens that are no part of plain text."""
        ...

    def add_tokens(self, new_tokens: list[str]) -> int:
        """Add tokens; returns how many were new."""
        ...

    def save_pretrained(self, folder: Any) -> Any:
        """Write the tokenizer's files."""
        ...

    def __len__(self) -> int:
        """Count the tokens."""
        ...


class DecoderLanguageModel(VideoLanguageModel):
    """
    A video-language model around a causal decoder of transformers.

    Args:
        tokenizer: with the [SEG] token.
        width: D, of the hidden states.
        prompt_count: N, number of [SEG] tokens.

    """

    def __init__(self, tokenizer: Tokenizer, width: int, prompt_count: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.width = width
        self.prompt_count = prompt_count
        self.prompt_id = tokenizer.get_added_vocab()[PROMPT_TOKEN]
        self._seen: WeakKeyDictionary[LanguageClip, Tensor] = WeakKeyDictionary()

    @property
    @abstractmethod
    def body(self) -> Any:
        """The decoder of transformers, without its head."""

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """From hidden states to the logits of the next token."""

    @abstractmethod
    def encode_frames(self, clip: LanguageClip) -> Tensor:
        """Turn the frames of a clip into visual tokens, [F, n, D], F of them in the text."""

    @abstractmethod
    def conversation(self, frames: int, question: str) -> list[str | int]:
        """
        Write a conversation up to where the assistant speaks.

        Args:
            frames: F, first dimension of the visual tokens.
            question: without marks of the tokenizer.

        Returns:
            text, and indices 0..F-1 where visual tokens stand.

        """

    @property
    def stop_ids(self) -> set[int]:
        """Tokens that end an answer."""
        end = self.tokenizer.eos_token_id
        return {self._ids(END_OF_TURN)[0]} | (set() if end is None else {end})

    def prepare(self, clips: Sequence[LanguageClip], questions: Sequence[str],
                answers: Sequence[str] | None = None) -> LanguageInputs:
        """Turn clips and text into tokens; see `VideoLanguageModel`."""
        said = [None] * len(clips) if answers is None else answers
        samples = [self._sample(*sample) for sample in zip(clips, questions, said, strict=True)]
        embeddings, prompts, labels = zip(*samples, strict=True)
        lengths = torch.tensor([len(sample) for sample in embeddings], device=self.device)
        padded = pad_sequence(list(embeddings), batch_first=True)
        mask = torch.arange(padded.shape[1], device=self.device) < lengths[:, None]
        return LanguageInputs(
            padded, mask, torch.stack(prompts),
            None if answers is None else pad_sequence(list(labels), True, float(IGNORED)))

    def forward(self, inputs: LanguageInputs) -> LanguageOutputs:
        """Run the model over whole sequences; both results are float32."""
        hidden = self.body(inputs_embeds=inputs.embeddings.to(self.dtype),
                           attention_mask=inputs.mask.long(), use_cache=False).last_hidden_state
        prompts = gather_tokens(hidden, inputs.prompts).float()
        if inputs.labels is None:
            return LanguageOutputs(prompts, prompts.new_zeros(()))
        return LanguageOutputs(prompts, self._token_loss(hidden, inputs.labels))

    @torch.no_grad()
    def answer(self, inputs: LanguageInputs, most_tokens: int = 32) -> list[str]:
        """Generate words after the [SEG] tokens, greedily."""
        return [self._continue(sample[real], most_tokens)
                for sample, real in zip(inputs.embeddings, inputs.mask, strict=True)]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the decoder's states."""
        return self._embedding.weight.dtype

    @property
    def _embedding(self) -> nn.Embedding:
        embedding: nn.Embedding = self.body.get_input_embeddings()
        return embedding

    def _sample(self, clip: LanguageClip, question: str,
                answer: str | None) -> tuple[Tensor, Tensor, Tensor]:
        """Embed one sample; returns [L, D] in float32, places [N] and labels [L]."""
        visual = self._visual_tokens(clip)
        parts = [visual[piece] if isinstance(piece, int) else self._embed(self._ids(piece))
                 for piece in self.conversation(len(visual), self._plain(question))]
        prompted = self._ids(prompt_sentence(self.prompt_count))
        spoken = [] if answer is None else self._ids(f' {self._plain(answer)}{END_OF_TURN}')
        start = sum(len(part) for part in parts)
        places = [start + i for i, token in enumerate(prompted) if token == self.prompt_id]
        labels = [IGNORED] * (start + len(prompted)) + spoken
        embedded = torch.cat([*parts, self._embed([*prompted, *spoken])]).float()
        return embedded, self._integers(places), self._integers(labels)

    def _visual_tokens(self, clip: LanguageClip) -> Tensor:
        """Encode the frames of a clip, once as long as no gradients are asked for."""
        if torch.is_grad_enabled():
            return self.encode_frames(clip)
        if clip not in self._seen:
            self._seen[clip] = self.encode_frames(clip)
        return self._seen[clip]

    def _token_loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of the labelled tokens, each told from the one before it."""
        learnt = labels[:, 1:] != IGNORED
        if not learnt.any():
            return hidden.new_zeros((), dtype=torch.float32)
        logits = self.head(hidden[:, :-1][learnt]).float()
        return F.cross_entropy(logits, labels[:, 1:][learnt])

    def _continue(self, embeddings: Tensor, most_tokens: int) -> str:
        """Go on with one sample, [L, D]."""
        tokens: list[int] = []
        # the body adds to it whatever it reads
        read = {_cache_argument(self.body): DynamicCache(config=self.body.config)}
        following = embeddings[None].to(self.dtype)
        while len(tokens) < most_tokens:
            output = self.body(inputs_embeds=following, use_cache=True, **read)
            token = int(self.head(output.last_hidden_state[:, -1]).argmax())
            if token in self.stop_ids:
                break
            tokens.append(token)
            following = self._embed([token])[None]
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def _plain(self, text: str) -> str:
        """Take the tokenizer's own marks out of a sentence."""
        for mark in self.tokenizer.get_added_vocab():
            text = text.replace(mark, ' ')
        return ' '.join(text.split())

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _embed(self, ids: Sequence[int]) -> Tensor:
        embedded: Tensor = self._embedding(self._integers(ids))
        return embedded

    def _integers(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


def _cache_argument(body: nn.Module) -> str:
    """Return what transformers calls what a model has read: another name since 5.24."""
    known = inspect.signature(body.forward).parameters
    return 'cache' if 'cache' in known else 'past_key_values'


def prompt_sentence(count: int) -> str:
    """Return the sentence that holds the [SEG] tokens."""
    listed = ', '.join(f'({index}) {PROMPT_TOKEN}' for index in range(count))
    return f'It is {listed}.'

"""
A small language model that sees, trained from scratch on the words of one grammar.

A causal decoder over words, whose layers also attend to visual tokens: the maps of SAM 2's image
encoder, brought to one grid a frame and mixed by two blocks of depthwise convolutions over space
and time. Questions about one clip share its visual tokens. A word that is not in the vocabulary
is read as unknown; `unknown_words` names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.models.attention_heads import split_heads
from vseg_ros.training_settings import NanoLanguageSettings as NanoLanguageSettings
from vseg_ros.virst.language_model import (
    IGNORED,
    LanguageClip,
    LanguageInputs,
    LanguageOutputs,
    VideoLanguageModel,
    gather_tokens,
)
from vseg_ros.virst.things import ThingEmbedding
from vseg_ros.words import NO_MATCH, join_words, split_words

PADDING, UNKNOWN, BEGIN, PROMPT, END = range(5)
FIRST_WORD = 5


@dataclass(frozen=True, eq=False)
class NanoInputs(LanguageInputs):
    """
    Tokens, and what the model sees.

    Attributes:
        memory: float [C, T g g, D], visual tokens of C clips; B / C questions in a row share one.
        frames: T.

    """

    memory: Tensor = field(default_factory=lambda: torch.empty(0))
    frames: int = 1


class NanoLanguageModel(VideoLanguageModel):
    """
    The model; weights are random.

    Args:
        settings: architecture.
        words: the vocabulary, lower case.

    """

    def __init__(self, settings: NanoLanguageSettings, words: Sequence[str]) -> None:
        super().__init__()
        self.settings = settings
        self.words = tuple(words)
        self._numbers = {word: FIRST_WORD + number for number, word in enumerate(words)}
        self.width, self.prompt_count = settings.width, settings.prompt_count
        self.embedding = nn.Embedding(FIRST_WORD + len(words), self.width)
        self.prompt_places = nn.Parameter(torch.randn(settings.prompt_count, self.width) / 2)
        self.sight = Sight(settings)
        self.layers = nn.ModuleList(DecoderLayer(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(self.width)
        self.grounding = nn.Linear(self.width, self.width)
        self.claims = nn.Linear(self.width, settings.claims) if settings.claims else None
        self.things = (ThingEmbedding(self.width, settings.things) if settings.things
                       else None)
        self._seen: WeakKeyDictionary[LanguageClip, Tensor] = WeakKeyDictionary()
        nn.init.normal_(self.embedding.weight, std=self.width ** -0.5)

    def unknown_words(self, question: str) -> list[str]:
        """Return the words of a question that the model has never met."""
        return [word for word in split_words(question) if word not in self._numbers]

    def prepare(self, clips: Sequence[LanguageClip], questions: Sequence[str],
                answers: Sequence[str] | None = None) -> NanoInputs:
        """Turn clips and text into tokens; see `VideoLanguageModel.prepare`."""
        asked = [[BEGIN, *self._encode(question)] for question in questions]
        said: list[list[int]] = ([[*self._encode(answer), END] for answer in answers]
                                 if answers is not None else [[] for _ in questions])
        device = self.embedding.weight.device
        lengths = [len(q) + self.prompt_count + len(a) for q, a in zip(asked, said, strict=True)]
        tokens = torch.full((len(questions), max(lengths)), PADDING, device=device)
        labels = torch.full_like(tokens, IGNORED)
        prompts = torch.zeros(len(questions), self.prompt_count, dtype=torch.long, device=device)
        for number, (question, answer) in enumerate(zip(asked, said, strict=True)):
            sequence = [*question, *[PROMPT] * self.prompt_count, *answer]
            tokens[number, :len(sequence)] = torch.tensor(sequence, device=device)
            start = len(sequence) - len(answer)
            labels[number, start:len(sequence)] = tokens[number, start:len(sequence)]
            prompts[number] = torch.arange(len(question), start, device=device)
        mask = torch.arange(tokens.shape[1], device=device) < torch.tensor(
            lengths, device=device)[:, None]
        memory = self._look(_distinct(clips))
        inputs = NanoInputs(self._embed(tokens), mask, prompts,
                            labels if answers is not None else None, memory,
                            len(clips[0].features))
        return self._with_places(inputs)

    def _look(self, clips: Sequence[LanguageClip]) -> Tensor:
        """Look at clips; in use, what was seen of a clip is kept as long as the clip is."""
        if torch.is_grad_enabled() or len(clips) != 1:
            return cast(Tensor, self.sight(clips))
        if clips[0] not in self._seen:
            self._seen[clips[0]] = self.sight(clips)
        return self._seen[clips[0]]

    def _embed(self, tokens: Tensor) -> Tensor:
        """Look tokens up, at the scale of the waves that tell their places."""
        embedded: Tensor = self.embedding(tokens) * self.width ** 0.5
        return embedded

    def _with_places(self, inputs: NanoInputs) -> NanoInputs:
        """Tell the [SEG] tokens of a question apart."""
        placed = inputs.with_prompts(inputs.prompt_embeddings() + self.prompt_places)
        assert isinstance(placed, NanoInputs)
        return placed

    def forward(self, inputs: LanguageInputs) -> LanguageOutputs:
        """Run the model; see `VideoLanguageModel.forward`."""
        assert isinstance(inputs, NanoInputs)
        hidden = self._hidden(inputs)
        prompts = gather_tokens(hidden, inputs.prompts)
        loss = hidden.new_zeros(())
        if inputs.labels is not None:
            logits = hidden[:, :-1] @ self.embedding.weight.T
            loss = F.cross_entropy(logits.flatten(0, 1), inputs.labels[:, 1:].flatten(),
                                   ignore_index=IGNORED)
        sameness = None if self.things is None else self.things(inputs.memory)
        return LanguageOutputs(prompts, loss, self._grounding(prompts, inputs), sameness,
                               self._doubts(prompts))

    @torch.no_grad()
    def _doubts(self, prompts: Tensor) -> Tensor | None:
        """Tell how likely the answer begins as `NO_MATCH` does, which no other does."""
        first = self._numbers.get(split_words(NO_MATCH)[0])
        if first is None:
            return None
        return (prompts[:, -1] @ self.embedding.weight.T).softmax(-1)[:, first]

    @torch.no_grad()
    def answer(self, inputs: LanguageInputs, most_tokens: int = 32) -> list[str]:
        """Generate words; see `VideoLanguageModel.answer`."""
        assert isinstance(inputs, NanoInputs)
        return [self._say(_sample(inputs, number), most_tokens)
                for number in range(len(inputs.embeddings))]

    def _say(self, inputs: NanoInputs, most_tokens: int) -> str:
        """Say words one after the other; each layer remembers what it has read and seen."""
        said: list[str] = []
        remembered = [Remembered(*layer.look(inputs.memory)) for layer in self._decoder_layers()]
        while len(said) < most_tokens:
            hidden = self._hidden(inputs, remembered)[0, -1]
            token = int((self.embedding.weight[END:] @ hidden).argmax()) + END
            if token == END:
                break
            said.append(self.words[token - FIRST_WORD])
            inputs = NanoInputs(self._embed(torch.full_like(inputs.prompts[:, :1], token)),
                                inputs.mask[:, :1], inputs.prompts, memory=inputs.memory,
                                frames=inputs.frames)
        return join_words(said)

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def _hidden(self, inputs: NanoInputs,
                remembered: Sequence[Remembered] | None = None) -> Tensor:
        """Run all layers; what they remember stands before the words that are given."""
        start = 0 if remembered is None else remembered[0].length
        length = start + inputs.embeddings.shape[1]
        device = inputs.mask.device
        tokens = inputs.embeddings + waves(torch.arange(start, length, device=device), self.width)
        causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()[start:]
        # a padded place may look at itself, so that its softmax is defined
        real = F.pad(inputs.mask, (start, 0), value=True)[:, None]
        seen = causal & (real | torch.eye(length, dtype=torch.bool, device=device)[start:])
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, seen[:, None], inputs.memory,
                           None if remembered is None else remembered[number])
        normalised: Tensor = self.norm(tokens)
        return normalised

    def _grounding(self, prompts: Tensor, inputs: NanoInputs) -> Tensor:
        """Compare what was found, [B, N, D], with every visual token."""
        memory = inputs.memory
        wanted = self.grounding(prompts.mean(1)).view(len(memory), -1, self.width)
        heat: Tensor = (wanted @ memory.transpose(1, 2)).flatten(0, 1) / self.width ** 0.5
        grid = self.settings.grid
        return heat.view(-1, inputs.frames, grid, grid)

    def _encode(self, text: str) -> list[int]:
        return [self._numbers.get(word, UNKNOWN) for word in split_words(text)]


class Sight(nn.Module):
    """Turns the maps of an image encoder into visual tokens."""

    def __init__(self, settings: NanoLanguageSettings) -> None:
        super().__init__()
        self.grid = settings.grid
        self.folds = settings.folds or (1,) * len(settings.maps)
        channels = sum(channels * fold ** 2 for channels, fold in
                       zip(settings.maps, self.folds, strict=True))
        self.projection = nn.Linear(channels, settings.width)
        self.blocks = nn.ModuleList(MixingBlock(settings.width) for _ in range(settings.blocks))
        self.attention = nn.ModuleList(ClipAttention(settings.width, settings.heads)
                                       for _ in range(settings.attention))
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, clips: Sequence[LanguageClip]) -> Tensor:
        """Look at C clips of T frames; returns [C, T g g, D]."""
        levels = [torch.stack([clip.maps[level] for clip in clips])
                  for level in range(len(clips[0].maps))]
        frames = levels[0].shape[1]
        tokens = self.projection(torch.cat([
            _cells(each.flatten(0, 1).float(), self.grid, fold)
            for each, fold in zip(levels, self.folds, strict=True)], -1))
        tokens = tokens.unflatten(0, (len(clips), frames))
        tokens = tokens + _places(frames, self.grid, tokens)
        first = len(self.blocks) - len(self.attention)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number >= first:
                tokens = self.attention[number - first](tokens)
        normalised: Tensor = self.norm(tokens.flatten(1, 3))
        return normalised


class MixingBlock(nn.Module):
    """Depthwise 5x5 over space and 3 over time, then a feed-forward layer, each added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.space = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.time = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.feed_forward = _feed_forward(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix float [C, T, g, g, D]."""
        clips, frames, rows, columns, width = tokens.shape
        mixed = self.norm(tokens).flatten(0, 1).permute(0, 3, 1, 2)
        # in bfloat16 a CPU takes more than twice as long to go back through this convolution
        with torch.autocast(tokens.device.type, enabled=False):
            mixed = self.space(mixed.float()).permute(0, 2, 3, 1)
        mixed = mixed.reshape(clips, frames, -1, width).permute(0, 2, 3, 1)
        along = self.time(mixed.flatten(0, 1)).unflatten(0, (clips, -1))
        tokens = tokens + along.permute(0, 3, 1, 2).view(clips, frames, rows, columns, width)
        added: Tensor = tokens + self.feed_forward(tokens)
        return added


class ClipAttention(nn.Module):
    """
    Attention of every visual token to all of its clip, to means of 2 x 2 cells of a frame each.

    What is said of a thing among others, or over time, cannot be seen nearby. It starts with no
    influence, so that it can be added to a model that is trained already.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.memory = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Add to float [C, T, g, g, D] what was found."""
        clips, width = len(tokens), tokens.shape[-1]
        normalised = self.norm(tokens)
        means = F.avg_pool2d(normalised.flatten(0, 1).permute(0, 3, 1, 2), 2, ceil_mode=True)
        means = means.flatten(2).transpose(1, 2).reshape(clips, -1, width)
        query, key, value = (split_heads(each, self.heads) for each in (
            self.query(normalised.flatten(1, 3)), *self.memory(means).chunk(2, -1)))
        found = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        added: Tensor = tokens + self.output(found).view(tokens.shape)
        return added


class Remembered:
    """
    What a layer keeps of one question while it answers.

    Args:
        keys: of what is seen, float [C, heads, M, D / heads].
        values: likewise.

    Attributes:
        sight: both of them.
        length: words remembered.

    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.sight = keys, values
        self.length = 0
        self._words: tuple[Tensor, Tensor] | None = None

    def add(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Remember further words, [B, heads, L, D / heads]; returns those of all."""
        if self._words is not None:
            keys = torch.cat((self._words[0], keys), 2)
            values = torch.cat((self._words[1], values), 2)
        self._words, self.length = (keys, values), keys.shape[2]
        return keys, values


class DecoderLayer(nn.Module):
    """Self-attention over words, attention to what is seen, feed-forward; normalised before."""

    def __init__(self, settings: NanoLanguageSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.self_norm, self.sight_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_input = nn.Linear(width, 3 * width)
        self.self_output = nn.Linear(width, width)
        self.sight_query = nn.Linear(width, width)
        self.sight_memory = nn.Linear(width, 2 * width)
        self.sight_output = nn.Linear(width, width)
        self.feed_forward = _feed_forward(width, 3)
        self.dropout = nn.Dropout(settings.dropout)

    def look(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the keys and values of what is seen, [C, M, D], which no word changes."""
        key, value = self.sight_memory(memory).chunk(2, -1)
        return self._split(key), self._split(value)

    def forward(self, tokens: Tensor, seen: Tensor, memory: Tensor,
                remembered: Remembered | None = None) -> Tensor:
        """
        Update the words.

        Args:
            tokens: float [B, L, D].
            seen: bool [B, 1, L, L'], which words each word may look at; L' counts those that are
                remembered too.
            memory: float [C, M, D]; B / C questions in a row share one.
            remembered: of the words before and of what is seen; the words are added to it.

        """
        query, key, value = (self._split(each) for each in
                             self.self_input(self.self_norm(tokens)).chunk(3, -1))
        if remembered is not None:
            key, value = remembered.add(key, value)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        tokens = tokens + self.dropout(self.self_output(attended.transpose(1, 2).flatten(2)))
        # all words of a clip's questions ask its memory at once
        asked = self.sight_query(self.sight_norm(tokens)).reshape(len(memory), -1,
                                                                  tokens.shape[2])
        attended = F.scaled_dot_product_attention(self._split(asked), *(
            self.look(memory) if remembered is None else remembered.sight))
        found = self.sight_output(attended.transpose(1, 2).flatten(2)).view(tokens.shape)
        tokens = tokens + self.dropout(found)
        added: Tensor = tokens + self.dropout(self.feed_forward(tokens))
        return added

    def _split(self, tokens: Tensor) -> Tensor:
        return split_heads(tokens, self.heads)


def waves(places: Tensor, width: int) -> Tensor:
    """Encode places, int [...], by sines and cosines of falling frequency: [..., width]."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=places.device) * (-9.21 / half))
    angles = places[..., None].float() * rates
    return torch.cat((angles.sin(), angles.cos()), -1)


def _places(frames: int, grid: int, like: Tensor) -> Tensor:
    """Encode time, row and column of every visual token: [T, g, g, D]."""
    third = like.shape[-1] // 3
    time = waves(torch.arange(frames, device=like.device), third)[:, None, None]
    row = waves(torch.arange(grid, device=like.device), third)[None, :, None]
    column = waves(torch.arange(grid, device=like.device), third)[None, None]
    size = (frames, grid, grid, third)
    return torch.cat([each.expand(size) for each in (time, row, column)], -1).to(like.dtype)


def _feed_forward(width: int, ratio: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ratio * width), nn.GELU(),
                         nn.Linear(ratio * width, width))


def _cells(maps: Tensor, grid: int, fold: int) -> Tensor:
    """
    Bring maps, [B, h, w, C], to a grid: [B, g, g, fold * fold * C].

    Raises:
        ValueError: maps that are to be unfolded are not `fold` times as fine as the grid.

    """
    if fold > 1:
        if maps.shape[1:3] != (grid * fold, grid * fold):
            raise ValueError(f'maps of {tuple(maps.shape[1:3])} do not unfold {fold} times into '
                             f'a grid of {grid}')
        patches = maps.reshape(len(maps), grid, fold, grid, fold, -1)
        return patches.permute(0, 1, 3, 2, 4, 5).flatten(3)
    channels_first = maps.permute(0, 3, 1, 2)
    if maps.shape[2] >= grid:
        resized = F.adaptive_avg_pool2d(channels_first, (grid, grid))
    else:
        resized = F.interpolate(channels_first, (grid, grid), mode='bilinear',
                                align_corners=False)
    return resized.permute(0, 2, 3, 1)


def _distinct(clips: Sequence[LanguageClip]) -> list[LanguageClip]:
    """Keep one of each clip if all have as many questions, in a row; else one a question."""
    kept = [clip for number, clip in enumerate(clips)
            if not number or clips[number - 1] is not clip]
    share = ceil(len(clips) / len(kept))
    even = len(kept) * share == len(clips) and all(
        clips[number] is kept[number // share] for number in range(len(clips)))
    return kept if even else list(clips)


def _sample(inputs: NanoInputs, number: int) -> NanoInputs:
    """Take one question out of a batch, without its padding."""
    length = int(inputs.mask[number].sum())
    clip = number * len(inputs.memory) // len(inputs.embeddings)
    return NanoInputs(inputs.embeddings[number:number + 1, :length],
                      inputs.mask[number:number + 1, :length],
                      inputs.prompts[number:number + 1],
                      memory=inputs.memory[clip:clip + 1], frames=inputs.frames)

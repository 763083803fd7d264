"""
The text prior (Time2General, Sec. 3.2): a bias on the Stability Queries from the classes' names.

E holds one embedding a class from a frozen CLIP text tower: the class name in several sentences,
each sentence's embedding normalised, their mean normalised again. A linear layer projects E to the
width d of the queries, and the mean over the classes is the global context e. With a learnable
scalar alpha_txt,

    S~ = S + alpha_txt e

CLIP is needed once: E is kept in the user's cache, and travels with the trained weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from vseg_ros.atomic import atomic_file
from vseg_ros.errors import UserError
from vseg_ros.models.cache import cache_folder
from vseg_ros.models.pretrained import explained, find_pretrained, load_pretrained, source_of
from vseg_ros.weights import Weights

logger = logging.getLogger(__name__)

TEMPLATES = (
    'a photo of a {}.', 'a photo of the {}.', 'a {} in a street scene.', 'the {} seen from a car.',
    'a blurry photo of a {}.', 'a dark photo of a {}.', 'a {} in fog.', 'a {} in snow.',
    'a {} in the rain.')
"""Sentences that a class name is put into."""
SPOKEN = {'truck_bus': 'truck or bus'}
"""Class names that are not said as they are written."""
CACHE_VERSION = 1
"""Raised when the embeddings are computed in another way, so that cached ones are made anew."""
INITIAL_ALPHA = 0.1
WHAT = 'CLIP text tower'


class TextPrior(nn.Module):
    """
    Biases the Stability Queries with the classes' context.

    Args:
        embeddings: E, float32 [K, D], from `class_embeddings`; zeros of that shape if trained
            weights are loaded next, which bring it along.
        width: d, of the queries.

    """

    def __init__(self, embeddings: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer('embeddings', embeddings.detach().clone())
        self.embeddings: Tensor
        self.projection = nn.Linear(embeddings.shape[1], width)
        self.alpha = nn.Parameter(torch.tensor(INITIAL_ALPHA))

    def context(self) -> Tensor:
        """Return e, float [d]: the mean over the classes of their projected embeddings."""
        projected: Tensor = self.projection(self.embeddings)
        return projected.mean(0)

    def forward(self, queries: Tensor) -> Tensor:
        """
        Bias the queries: S~ = S + alpha_txt e.

        Args:
            queries: S, float [Q, d].

        Returns:
            float [Q, d].

        """
        return queries + self.alpha * self.context()


def class_embeddings(name: str, class_names: Sequence[str]) -> Tensor:
    """
    Embed the names of classes with CLIP, or take them from the cache.

    Args:
        name: folder or hub id of a CLIP model or of its text tower, with its tokenizer, such as
            openai/clip-vit-base-patch32.
        class_names: in order of the ids.

    Returns:
        E, float32 [K, D], each row of length 1.

    Raises:
        UserError: it is not in the cache, and CLIP cannot be reached or read.

    """
    weights = find_pretrained(name, WHAT)
    path = cache_folder() / f'text-{_digest(weights, class_names)}.safetensors'
    with suppress(OSError, SafetensorError, KeyError):
        return load(path.read_bytes())['embeddings']
    embeddings = encode_classes(weights, class_names)
    described = {'clip': name, 'classes': json.dumps(list(class_names))}
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(save({'embeddings': embeddings}, described))
    except UserError as error:
        logger.warning('the text embeddings are not kept for the next time: %s', error)
    return embeddings


def prompts(class_name: str) -> list[str]:
    """Put a class name into every template."""
    spoken = SPOKEN.get(class_name, class_name.replace('_', ' '))
    return [template.format(spoken) for template in TEMPLATES]


def encode_classes(weights: Weights, class_names: Sequence[str]) -> Tensor:
    """
    Embed the names of classes with CLIP.

    Args:
        weights: a folder or a hub id.
        class_names: K names.

    Returns:
        E, float32 [K, D], each row of length 1.

    Raises:
        UserError: CLIP cannot be reached or read.

    """
    model = load_pretrained(CLIPTextModelWithProjection, weights, WHAT)
    with explained(weights, f'tokenizer of a {WHAT}'):
        tokenizer = AutoTokenizer.from_pretrained(source_of(weights))
    rows = []
    for class_name in class_names:
        words = tokenizer(prompts(class_name), padding=True, truncation=True, return_tensors='pt',
                          max_length=model.config.max_position_embeddings)
        with torch.no_grad():
            embedded = model(input_ids=words['input_ids'],
                             attention_mask=words['attention_mask']).text_embeds
        rows.append(F.normalize(F.normalize(embedded, dim=-1).mean(0), dim=-1))
    return torch.stack(rows)


def _digest(weights: Weights, class_names: Sequence[str]) -> str:
    """Name what the embeddings depend on; a folder's weights count by size and time of change."""
    depends = [CACHE_VERSION, _identity(weights), list(class_names),
               [prompts(class_name) for class_name in class_names]]
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:20]


def _identity(weights: Weights) -> list[str]:
    if weights.path is None:
        return [weights.name]
    return [str(weights.path.resolve()),
            *(f'{path.name} {_stamp(path)}' for path in sorted(weights.path.iterdir()))]


def _stamp(path: Path) -> str:
    status = path.stat()
    return f'{status.st_size} {status.st_mtime_ns}'

"""How a sentence is split into words and put together again, for the grammar and small models."""

from __future__ import annotations

import re

NO_MATCH = 'there is no such thing in view'
"""What a small model answers where nothing matches a sentence."""

_BEFORE, _WITHIN = re.compile(r' ([,.;:!?])'), re.compile(r" ([-']) ")
_WORD = re.compile(r'[^\W_]+|[^\w\s]|_')


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words; every other sign stands for itself, white space goes."""
    return _WORD.findall(text.lower())


def join_words(words: list[str]) -> str:
    """Put words together as one writes them: no space before a comma, none around a hyphen."""
    return _WITHIN.sub(r'\1', _BEFORE.sub(r'\1', ' '.join(words)))

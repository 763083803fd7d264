"""How a sentence is split into words: the rule of the grammar and of the small language model."""

from __future__ import annotations

import re

_WORD = re.compile(r'[^\W_]+|[^\w\s]|_')


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words; every other sign stands for itself, white space goes."""
    return _WORD.findall(text.lower())

"""
Fingerprints of what a result depends on: objects with the files they point to, weights, code.

`describe` turns a value into plain lists and strings that two processes write alike. A path in it
counts with the size and the time of change of its file, or of the files in its folder, so a video
is known by how it was opened and by the files it reads. Weights count by their content. Code
counts too: a result of yesterday's method is none of today's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from vseg_ros import __version__
from vseg_ros.weights import BUNDLED, FILE_SUFFIXES, HUB_ID, bundled_path

PACKAGE = Path(__file__).parents[1]
GENERATED = ('msg', 'srv')


def digest_of(description: Any) -> str:
    """Return 32 hexadecimal digits of what `describe` returned."""
    text = json.dumps(description, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Fingerprints:
    """Describes values; looks at every folder and file once."""

    def __init__(self) -> None:
        self._files: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}

    def describe(self, value: Any) -> Any:
        """
        Describe a value by what it holds, whatever its type.

        Args:
            value: numbers, strings, paths, arrays, and anything made of them that can be pickled.

        Returns:
            Something that JSON can write.

        """
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (float, np.generic)):
            return repr(value)
        if isinstance(value, Path):
            return self._describe_path(value)
        if isinstance(value, (np.ndarray, bytes)):
            return [str(getattr(value, 'dtype', '')), list(getattr(value, 'shape', [])),
                    hashlib.sha256(value if isinstance(value, bytes)
                                   else value.tobytes()).hexdigest()]
        if isinstance(value, Mapping):
            return [[self.describe(key), self.describe(item)] for key, item in value.items()]
        if isinstance(value, (list, tuple)):
            return [self.describe(item) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted((self.describe(item) for item in value), key=json.dumps)
        if isinstance(value, Enum):
            return str(value)
        if hasattr(value, '__qualname__'):
            return f'{value.__module__}.{value.__qualname__}'
        # Anything else is described as pickle sees it: its class, arguments and state.
        reduced = value.__reduce_ex__(4)
        return reduced if isinstance(reduced, str) else self.describe(reduced[:3])

    def _describe_path(self, path: Path) -> Any:
        name = os.path.abspath(path)
        if name not in self._files:
            if os.path.isdir(name):
                with os.scandir(name) as entries:
                    self._files[name] = sorted([entry.name, *_size_and_time(entry.stat())]
                                               for entry in entries if entry.is_file())
            else:
                self._files[name] = (_size_and_time(os.stat(name)) if os.path.exists(name)
                                     else 'missing')
        return [name, self._files[name]]

    def describe_weights(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """
        Describe the weights that settings name: bundled, a file, a folder or a hub id.

        Args:
            settings: name -> value, values may be nested.

        Returns:
            What is named -> what it is; a hub id by its revision in this machine's cache.

        """
        found: dict[str, Any] = {}
        for value in settings.values():
            if isinstance(value, Mapping):
                found |= self.describe_weights(value)
            elif value and isinstance(value, str):
                if value not in self._weights:
                    self._weights[value] = _describe_weights(value)
                if self._weights[value] is not None:
                    found[value] = self._weights[value]
        return found


def _size_and_time(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns]


def _describe_weights(name: str) -> Any:
    """Describe what a setting names; None if it names no weights."""
    path = bundled_path(name) if name in BUNDLED else Path(os.path.expanduser(name))
    if path.is_file():
        return _content(path)
    if path.is_dir():
        return [[item.name, _content(item)] for item in sorted(path.iterdir())
                if item.is_file() and item.suffix in (*FILE_SUFFIXES, '.json')]
    if HUB_ID.fullmatch(name):
        try:
            cached = try_to_load_from_cache(name, 'config.json')
        except HFValidationError:
            return None
        return Path(cached).parent.name if isinstance(cached, str) else 'not here yet'
    return None


def _content(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    hashed = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return the version of this package and a digest of its code, however it is installed."""
    hashed = hashlib.sha256()
    for path in sorted(PACKAGE.rglob('*.py')):
        name = path.relative_to(PACKAGE)
        # An installation for ROS holds the generated classes of its messages, too, and where it
        # is made of links, those of files that are no more.
        if name.parts[0] not in GENERATED and path.is_file():
            hashed.update(f'{name}\n'.encode())
            hashed.update(path.read_bytes())
    return f'{__version__} {hashed.hexdigest()[:16]}'

"""A fingerprint of a network's weights, to tell whether another was trained on top of it."""

from __future__ import annotations

import hashlib

from torch import nn


def digest(module: nn.Module) -> str:
    """Return a fingerprint of a module's parameters and buffers, 16 hexadecimal digits."""
    hashed = hashlib.sha256()
    for name, value in sorted([*module.named_parameters(), *module.named_buffers()]):
        hashed.update(name.encode())
        hashed.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return hashed.hexdigest()[:16]

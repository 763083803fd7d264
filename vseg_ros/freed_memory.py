"""
Giving memory that was freed back to the system.

glibc keeps what was freed in between of what is still in use: after something that needed much
more than a frame does, such as an adaptation, a process holds on to it for nothing.
"""

from __future__ import annotations

import ctypes


def give_back_freed_memory() -> None:
    """Return all that is free to the system; does nothing where the C library is not glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)

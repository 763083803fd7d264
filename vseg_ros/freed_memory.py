"""
What becomes of memory that was freed: kept for the next frame, or given back after a peak.

Every frame needs arrays of the same sizes as the one before. glibc returns large ones to the
system as soon as they are freed, and the system clears every page again when they are next asked
for: a twentieth of the time of a SegFormer-B5 or of a question to VIRST
(`benchmarks/freed_memory.py`). `keep_freed_memory` lets a process hold on to them;
`give_back_freed_memory` is for the end of what needed much more than a frame does.

Both do nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of settings in glibc's `malloc.h`."""
_LARGEST_INT = 2**31 - 1
_SETTINGS_OF_THE_USER = ('MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_',
                         'MALLOC_TOP_PAD_')


def keep_freed_memory() -> bool:
    """
    Let this process keep what it frees, unless the user has set glibc's malloc otherwise.

    Returns:
        whether it does so now.

    """
    set_option = _libc_function('mallopt')
    if set_option is None or _is_set_by_the_user():
        return False
    # glibc's own threshold cannot be raised above 32 MiB in all its versions; this can
    return bool(set_option(_MMAP_MAX, 0) and set_option(_TRIM_THRESHOLD, _LARGEST_INT))


def give_back_freed_memory() -> None:
    """Return all that is free to the system; what is needed again costs its time again, once."""
    trim = _libc_function('malloc_trim')
    if trim is not None:
        trim(0)


def _is_set_by_the_user() -> bool:
    return ('glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '')
            or any(name in os.environ for name in _SETTINGS_OF_THE_USER))


def _libc_function(name: str) -> Callable[..., int] | None:
    """Find a function of the C library of this process, or None where there is no such one."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    return function

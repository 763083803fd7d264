"""
The socket buffer that images arrive in.

A publisher sends all packets of an image at once, 2.8 MB for raw 1280x720, and what does not fit
into the receiver's socket buffer is lost; with best effort the whole image is. Cyclone DDS asks
the kernel for 1 MB unless it is told otherwise. On a Linux host with room (net.core.rmem_max)
it is asking for more that makes a subscriber receive every image, whatever the reliability of both
sides; a deeper queue or larger packets help in some pairings and not in others.
"""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLE = 'CYCLONEDDS_URI'
# Not `min`: Cyclone DDS does not start where the kernel grants less than that.
_LARGE_BUFFER = ('<CycloneDDS><Domain><Internal><SocketReceiveBufferSize max="64MB"/>'
                 '</Internal></Domain></CycloneDDS>')
_KERNEL_LIMIT = Path('/proc/sys/net/core/rmem_max')


def ask_for_large_buffer() -> None:
    """
    Let Cyclone DDS ask the kernel for as much as it grants; call before `rclpy.init`.

    A configuration of the user's own (CYCLONEDDS_URI) is left alone, and other middleware does
    not look at it.
    """
    os.environ.setdefault(_VARIABLE, _LARGE_BUFFER)


def kernel_limit() -> int | None:
    """Return the largest receive buffer that the kernel grants, in bytes; None if unknown."""
    try:
        return int(_KERNEL_LIMIT.read_text())
    except (OSError, ValueError):
        return None

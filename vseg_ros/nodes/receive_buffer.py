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

_CYCLONE = 'rmw_cyclonedds_cpp'
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


def how_to_enlarge(middleware: str) -> str:
    """
    Say what makes the receive buffer larger, as a half sentence that says what to do.

    Args:
        middleware: as ROS names it, such as rmw_cyclonedds_cpp. Of others than this one it is not
            known here how much they ask the kernel for.

    """
    if middleware != _CYCLONE:
        return f"enlarge the receive buffer by {middleware}'s own settings"
    limit = kernel_limit()
    return 'raise net.core.rmem_max' + ('' if limit is None else f' (now {limit >> 10} KiB)')


def kernel_limit() -> int | None:
    """Return the largest receive buffer that the kernel grants, in bytes; None if unknown."""
    try:
        return int(_KERNEL_LIMIT.read_text())
    except (OSError, ValueError):
        return None

"""The user's cache folder: what is costly to make and can be made again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """
    Return this package's folder below `$XDG_CACHE_HOME`, else `~/.cache`, made if need be.

    Where none can be made, as for a service without a home, it is a new temporary folder.
    """
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'vseg_ros'
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix='vseg_ros-'))
    return folder

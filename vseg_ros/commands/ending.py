"""
How a command ends: exit codes and the one line, whatever it was that ended it.

| what ended it | exit code |
|---|---|
| it is done | 0 |
| a mistake that the user can mend, or memory that does not suffice: one line says which | 2 |
| Ctrl-C (SIGINT) | 130 |
| SIGTERM, as sent by `kill`, systemd, Docker and batch systems | 143 |

Both signals close bags and videos with what they hold so far, and leave nothing else behind.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vseg_ros.errors import UserError
from vseg_ros.failure import one_line, out_of_memory

MISTAKE, INTERRUPTED, TERMINATED = 2, 128 + signal.SIGINT, 128 + signal.SIGTERM
_MEMORY_ADVICE = 'lower input_size, take a smaller model, or compute on the CPU with -p device=cpu'


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """
    Run a command in the block, and leave the program as the table above says.

    Raises:
        SystemExit: with the exit code, if it is not 0. A defect keeps its own exception.

    """
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    # Python hands signals to the main thread alone; elsewhere there is nothing to catch.
    here = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, terminate) if here else None
    try:
        yield
    except UserError as error:
        _leave(str(error))
    except KeyboardInterrupt:
        raise SystemExit(TERMINATED if terminated else INTERRUPTED) from None
    except SystemExit as error:
        # What the command line makes of an interruption does not know which signal it was.
        raise SystemExit(TERMINATED if terminated else error.code) from None
    except Exception as error:
        if not out_of_memory(error):
            raise
        _leave(one_line(error, _MEMORY_ADVICE))
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _leave(line: str) -> None:
    print(f'vseg: {line}', file=sys.stderr)
    raise SystemExit(MISTAKE) from None

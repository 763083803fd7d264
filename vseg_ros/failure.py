"""What went wrong in a computation, in one line for a log, a status or an answer."""

from __future__ import annotations

import sys

from vseg_ros.errors import UserError


def out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that the memory, or that of the GPU, is used up."""
    # An error of torch comes from torch: where it was not imported, it need not be.
    torch = sys.modules.get('torch')
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.cuda.OutOfMemoryError))


def one_line(error: Exception, memory_advice: str) -> str:
    """
    Say what an error is.

    Args:
        error: a UserError speaks for itself; of any other the type is named.
        memory_advice: what to do when the memory is used up.

    """
    text = ' '.join(str(error).split()) or type(error).__name__
    if out_of_memory(error):
        return f'out of memory ({text}): {memory_advice}'
    return text if isinstance(error, UserError) else f'{type(error).__name__}: {text}'


def first_line(error: Exception) -> str:
    """Return the first line of what may be many, as of a compiler; the type if there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(':')


def is_foreseen(error: Exception) -> bool:
    """Tell whether the one line says it all, so that a traceback would only be in the way."""
    return isinstance(error, UserError) or out_of_memory(error)

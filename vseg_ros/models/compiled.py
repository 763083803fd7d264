"""
A function of tensors as one compiled graph, for a GPU that otherwise waits for the processor.

A small network on a GPU is a hundred short kernels, and launching each takes longer than running
it. `torch.compile` fuses what it can; on a GPU its mode `reduce-overhead` also records the rest as
a CUDA graph, which is launched at once. Every size of input is compiled by itself, which takes up
to minutes. Where there is no compiler, the function runs as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vseg_ros.failure import first_line

logger = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...]


class CompiledFunction:
    """
    Calls a function compiled, or as it is after a first failure to compile it.

    Args:
        function: of tensors on one device, without gradients; what it reads besides must stay
            where it is in memory.

    """

    def __init__(self, function: Callable[[Tensor], Tensors]) -> None:
        self._plain = function
        self._fast: Callable[[Tensor], Any] | None = torch.compile(
            function, mode='reduce-overhead', dynamic=False)

    @property
    def refused(self) -> bool:
        """Whether the function could not be compiled."""
        return self._fast is None

    def __call__(self, argument: Tensor) -> Tensors:
        """Return copies of what the function returns: a graph writes to one place each time."""
        if self._fast is not None:
            try:
                return tuple(each.clone() for each in self._fast(argument))
            except torch.OutOfMemoryError:
                raise
            # a compiler has exceptions of its own for whatever it lacks, and no base for them
            except Exception as error:
                logger.warning('the network is not compiled (%s): it runs as it is',
                               first_line(error))
                self._fast = None
        return self._plain(argument)

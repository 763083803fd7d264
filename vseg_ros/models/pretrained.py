"""
Load what transformers saved, with one clear line for whatever goes wrong.

The caller names the class of the model; a hub that cannot be reached, a damaged folder, weights
that are missing and a package that is not installed all end in a `UserError`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from vseg_ros.errors import UserError
from vseg_ros.weights import Weights, find_weights, hub_advice


def find_pretrained(name: str, what: str) -> Weights:
    """
    Look up a checkpoint of transformers.

    Args:
        name: a folder or a hub id.
        what: the kind of checkpoint, for the message.

    Raises:
        UserError: nothing has that name, or it is a single file.

    """
    weights = find_weights(name)
    if weights.kind not in ('folder', 'hub'):
        raise UserError(f'{name} is no {what}: give a folder saved by transformers or a hub id')
    return weights


def source_of(weights: Weights) -> str:
    """Return what transformers loads from: the folder or the hub id."""
    return weights.name if weights.path is None else str(weights.path)


@contextmanager
def explained(weights: Weights, what: str) -> Iterator[None]:
    """Turn what transformers raises while it loads `weights`, a `what`, into a `UserError`."""
    source = source_of(weights)
    try:
        yield
    except ImportError as error:
        raise UserError(f'{source} needs a package that is not installed: '
                        f'{_first_line(error)}') from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError,
            StrictDataclassError) as error:
        if weights.kind == 'hub':
            raise UserError(hub_advice(weights.name)) from error
        raise UserError(f'{source} holds no readable {what} ({_first_line(error)}): download it '
                        'again') from error


def read_config(weights: Weights, what: str) -> PreTrainedConfig:
    """
    Read the configuration of a checkpoint.

    Raises:
        UserError: it cannot be reached or read.

    """
    with explained(weights, what):
        config: PreTrainedConfig = AutoConfig.from_pretrained(source_of(weights))
        return config


def load_pretrained(model_class: Any, weights: Weights, what: str,
                    config: PreTrainedConfig | None = None, may_lack: str | None = None) -> Any:
    """
    Load a model of transformers.

    Args:
        model_class: the class; it may be a part of what was saved, such as the text tower.
        weights: a folder or a hub id.
        what: the kind of checkpoint, for messages.
        config: a configuration to use instead of the saved one.
        may_lack: weights with this in their name may be missing; they keep their initial value.

    Returns:
        the model in float32 on the CPU, in eval mode and without gradients.

    Raises:
        UserError: it cannot be reached, is damaged, or lacks weights.

    """
    changed = {} if config is None else {'config': config}
    with explained(weights, what), _quiet():
        model, report = model_class.from_pretrained(
            source_of(weights), dtype=torch.float32, output_loading_info=True, **changed)
    missing = [key for key in report['missing_keys'] if may_lack is None or may_lack not in key]
    if missing:
        raise UserError(f'{source_of(weights)} lacks {len(missing)} of the weights of a {what}: '
                        'download it again')
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from listing the weights it leaves out: what matters is checked here."""
    logger = logging.getLogger('transformers')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(':')

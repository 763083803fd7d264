"""
Low-rank adaptation of a decoder (LoRA) through peft: W x + (alpha / rank) B A x.

VIRST adapts the q, k, v, o, gate, up and down projections of its language model (Sec. 3.4) with
rank 64 and alpha 16. peft is only needed where matrices are trained or kept beside their layer;
`vseg convert virst` merges without it. What is saved has peft's own form.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vseg_ros.errors import UserError
from vseg_ros.failure import first_line

PROJECTIONS = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj')
"""Layers that are adapted."""

RANK, ALPHA, DROPOUT = 64, 16.0, 0.05

ADAPTER_FOLDER = 'lora'
ADAPTER_CONFIG, ADAPTER_WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
PEFT_PREFIX = 'base_model.model.'


def add_low_rank(decoder: nn.Module, rank: int = RANK, alpha: float = ALPHA,
                 dropout: float = DROPOUT) -> list[nn.Parameter]:
    """
    Put trainable low-rank matrices beside the projections of a decoder, in place.

    Args:
        decoder: of transformers; everything in it with one of the names `PROJECTIONS` is adapted.
        rank: of the matrices.
        alpha: the product is scaled by alpha / rank.
        dropout: share of the inputs of the matrices that is dropped in training.

    Returns:
        The matrices' parameters; B is 0, so that at first nothing changes.

    Raises:
        UserError: peft is not installed.

    """
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, bias='none',
                             target_modules=list(PROJECTIONS))
    peft.inject_adapter_in_model(config, decoder)
    return [value for name, value in decoder.named_parameters() if '.lora_' in name]


def merge_low_rank(decoder: nn.Module) -> None:
    """
    Add the matrices to the weights they stand beside and remove them, in place.

    Raises:
        UserError: peft is not installed.

    """
    layer_class = _peft().tuners.lora.LoraLayer
    adapted = [(name, module) for name, module in decoder.named_modules()
               if isinstance(module, layer_class)]
    for name, module in adapted:
        module.merge()
        parent, _, child = name.rpartition('.')
        setattr(decoder.get_submodule(parent), child, module.get_base_layer())


def save_low_rank(decoder: nn.Module, folder: Path, alpha: float = ALPHA) -> None:
    """
    Write a decoder's matrices into `folder`/lora.

    Raises:
        UserError: peft is not installed.

    """
    write_low_rank(_peft().get_peft_model_state_dict(decoder), folder, alpha)


def write_low_rank(matrices: Mapping[str, Tensor], folder: Path, alpha: float) -> None:
    """
    Write matrices into `folder`/lora, in peft's form.

    Args:
        matrices: 'model.layers.0.self_attn.q_proj.lora_A.weight' and so on; at least one.
        folder: of the decoder.
        alpha: they were trained with.

    """
    target = folder / ADAPTER_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    rank = next(len(value) for name, value in matrices.items() if '.lora_A.' in name)
    save_file({f'{PEFT_PREFIX}{name}': value.contiguous() for name, value in matrices.items()},
              target / ADAPTER_WEIGHTS, metadata={'format': 'pt'})
    config = {'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'r': rank, 'lora_alpha': alpha,
              'lora_dropout': DROPOUT, 'bias': 'none', 'target_modules': list(PROJECTIONS)}
    (target / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + '\n')


def saved_low_rank(folder: Path) -> Path | None:
    """Return the folder of matrices saved beside a decoder, None if there is none."""
    target = folder / ADAPTER_FOLDER
    return target if target.is_dir() else None


def add_saved_low_rank(decoder: nn.Module, folder: Path) -> None:
    """
    Put matrices that were saved beside a decoder into it.

    Args:
        decoder: as they were saved for.
        folder: that holds the folder `lora`.

    Raises:
        UserError: peft is not installed, or what was saved is damaged or of another decoder.

    """
    peft = _peft()
    source = folder / ADAPTER_FOLDER
    try:
        config: dict[str, Any] = json.loads((source / ADAPTER_CONFIG).read_text())
        matrices = {name.removeprefix(PEFT_PREFIX): value
                    for name, value in load_file(source / ADAPTER_WEIGHTS).items()}
        add_low_rank(decoder, config['r'], config['lora_alpha'], config['lora_dropout'])
        expected = peft.get_peft_model_state_dict(decoder)
        if {name: value.shape for name, value in expected.items()} != {
                name: value.shape for name, value in matrices.items()}:
            raise ValueError('its layers are others')
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f'{source} is damaged or belongs to another model: make the folder '
                        'anew') from error
    peft.set_peft_model_state_dict(decoder, matrices)


def _peft() -> Any:
    # Imported by name: type checkers need not find what users need not have.
    try:
        return importlib.import_module('peft')
    except ImportError as error:
        raise UserError('low-rank adaptation needs peft, and it cannot be imported '
                        f'({first_line(error)}): pip install --upgrade peft') from error

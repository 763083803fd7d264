"""
Reading the checkpoint that the authors of VIRST released, and telling its parts apart.

It is a dictionary with `model_state_dict`, whose names peft has put `base_model.model.` before;
adapted layers have their weight as `base_layer` and two low-rank matrices beside it. Only tensors
are read: a file that asks to run code is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.models.torch_file import open_torch_file

STATE = 'model_state_dict'
WRAPPERS = ('module.', 'base_model.model.')
"""What training wrappers put before every name, outermost first."""

PARTS = {
    'model.seg_model.': 'sam2',
    'model.initial_seg_fusion_module.': 'initial_fusion',
    'model.seg_prompter.': 'frame_prompts',
    'model.occ_predictor.': 'unused',
    'model.vision_tower.vision_tower.encoder.': 'vision',
    'model.mm_projector.': 'projector',
    'model.layers.': 'decoder',
    'model.embed_tokens.': 'decoder',
    'model.norm.': 'decoder',
    'lm_head.': 'decoder',
}
"""First parts of names and where they belong; the released code never reads `occ_predictor`."""

WHOLE_NAMES = ('decoder', 'initial_fusion', 'frame_prompts')
"""Parts whose weights keep their whole name."""

Weights = dict[str, Tensor]


@dataclass
class ReleasedWeights:
    """
    The weights of a released checkpoint, part by part, under the authors' names.

    Attributes:
        sam2: in Meta's names.
        initial_fusion: of STF's first fusion.
        frame_prompts: of STF's second fusion.
        vision: of the vision tower.
        projector: from the vision tower to the decoder.
        decoder: in transformers' names, low-rank matrices left out.
        low_rank: 'model.layers.0.self_attn.q_proj.lora_A.weight' and so on.
        unused: what the released code never reads.

    """

    sam2: Weights = field(default_factory=dict)
    initial_fusion: Weights = field(default_factory=dict)
    frame_prompts: Weights = field(default_factory=dict)
    vision: Weights = field(default_factory=dict)
    projector: Weights = field(default_factory=dict)
    decoder: Weights = field(default_factory=dict)
    low_rank: Weights = field(default_factory=dict)
    unused: Weights = field(default_factory=dict)


def read_released(file: Path) -> ReleasedWeights:
    """
    Read a released checkpoint.

    Raises:
        UserError: the file is missing, cut short, holds more than tensors, or is another model.

    """
    content = open_torch_file(file, STATE)
    state = content.get(STATE) if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not all(
            isinstance(value, Tensor) for value in state.values()):
        raise UserError(f'{file} is no checkpoint of VIRST: it has no {STATE!r} with tensors')
    weights = split_released(state)
    for part in ('sam2', 'initial_fusion', 'frame_prompts'):
        if not getattr(weights, part):
            raise UserError(f'{file} is no checkpoint of VIRST: it has no weights of '
                            f'{_prefix_of(part)}*')
    return weights


def split_released(state: Mapping[str, Tensor]) -> ReleasedWeights:
    """
    Tell the parts of a checkpoint apart.

    Raises:
        UserError: a name belongs to no part.

    """
    weights = ReleasedWeights()
    for key, value in state.items():
        name = plain_name(key)
        prefix = next((prefix for prefix in PARTS if name.startswith(prefix)), None)
        if prefix is None:
            raise UserError(f'the checkpoint has an unknown weight {key!r}: only that of the '
                            'released VIRST can be converted')
        part = PARTS[prefix]
        if '.lora_' in name:
            weights.low_rank[name.replace('.default.', '.')] = value
        else:
            short = name if part in WHOLE_NAMES else name.removeprefix(prefix)
            getattr(weights, part)[short.replace('.base_layer.', '.')] = value
    return weights


def plain_name(key: str) -> str:
    """Take what training wrappers put before a name away."""
    for wrapper in WRAPPERS:
        key = key.removeprefix(wrapper)
    return key


def _prefix_of(part: str) -> str:
    return next(prefix for prefix, name in PARTS.items() if name == part)

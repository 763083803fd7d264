"""
The checkpoint that the authors of DiTTA released, as a segmenter of ours.

It is a model *before* any adaptation: a SegFormer trained frame by frame, and the weights that
add-on (`query_layer`, `key_layer`) and projection head (`proj_feat`) started with in the paper's
experiments. Every video adapts a copy of it. So there is nothing for `adapted_weights` in it;
what comes out is

    OUT/config.json, OUT/model.safetensors   the segmenter, in the form of transformers
    OUT/ditta_initial.safetensors            where add-on and projection head start

and `segmenter: OUT` uses both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vseg_ros.atomic import refuse_same
from vseg_ros.ditta.contrastive import ProjectionHead
from vseg_ros.ditta.initial_weights import INITIAL
from vseg_ros.ditta.temporal_addon import TemporalAddon
from vseg_ros.errors import UserError
from vseg_ros.models.checkpoint_folder import new_folder, save_weights
from vseg_ros.models.released_classes import released_names
from vseg_ros.models.released_segformer import write_segformer
from vseg_ros.models.segformer_keys import SegformerSize, released_segformer
from vseg_ros.models.torch_file import read_state
from vseg_ros.models.weight_places import check_places, shapes_of

STARTS = {
    'decode_head.query_layer.': 'addon.query_layer.',
    'decode_head.key_layer.': 'addon.key_layer.',
    'decode_head.proj_feat.': 'projection.',
}
"""First parts of the released names, and ours."""

UNUSED = 'decode_head.value_layer.'
"""What a checkpoint of the authors' first code has besides; no image passes it."""


def convert_ditta(checkpoint: Path, out: Path, classes: str | None = None) -> SegformerSize:
    """
    Write a released checkpoint as a folder that `segmenter` takes, whole or not at all.

    Args:
        checkpoint: the authors' file, its weights under 'state_dict'.
        out: folder to write; an older one is replaced.
        classes: what names the classes; see `released_names`.

    Returns:
        the size of the segmenter.

    Raises:
        UserError: the file is missing, damaged, or of another model, has another number of
            classes, or `out` cannot be written; nothing is left behind then.

    """
    refuse_same(checkpoint, out)
    initial, others = split_initial(read_state(checkpoint))
    if not initial:
        raise UserError(f'{checkpoint} has no add-on (decode_head.query_layer): if it is a plain '
                        'SegFormer, convert it with `vseg convert segformer`')
    state, size = released_segformer(others)
    names = released_names(classes, size.classes)
    wanted = {**{f'addon.{name}': value
                 for name, value in TemporalAddon(size.width).state_dict().items()},
              **{f'projection.{name}': value
                 for name, value in ProjectionHead(size.width).state_dict().items()}}
    check_places('add-on', shapes_of(initial), shapes_of(wanted))
    with new_folder(out) as folder:
        write_segformer(state, size, names, folder)
        save_weights(initial, folder / INITIAL)
    return size


def split_initial(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """
    Part a released checkpoint.

    Args:
        state: the authors' names.

    Returns:
        add-on and projection head in our names, and the segmenter in the authors'.

    """
    initial, others = {}, {}
    for name, value in state.items():
        prefix = next((prefix for prefix in STARTS if name.startswith(prefix)), None)
        if prefix is not None:
            initial[STARTS[prefix] + name.removeprefix(prefix)] = value
        elif not name.startswith(UNUSED):
            others[name] = value
    return initial, others

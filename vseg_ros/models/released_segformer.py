"""
Released SegFormer checkpoints as folders of transformers.

    segformer.b5.640x640.ade.160k.pth -> OUT/config.json, OUT/model.safetensors

The weights are renamed (`segformer_keys.py`), and the class names written into the configuration.
Images need nothing that `ImageSegmenter` does not do by itself: these models, too, take RGB of
ImageNet's mean and deviation (123.675, 116.28, 103.53 and 58.395, 57.12, 57.375 of 255; the
authors' code reads BGR files and turns them round first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from vseg_ros.atomic import refuse_same
from vseg_ros.models.checkpoint_folder import WEIGHTS, new_folder, save_weights
from vseg_ros.models.released_classes import released_names
from vseg_ros.models.segformer_keys import SegformerSize, released_segformer
from vseg_ros.models.torch_file import read_state


def convert_segformer(checkpoint: Path, out: Path, classes: str | None = None) -> SegformerSize:
    """
    Write a released SegFormer as a folder that `segmenter` takes, whole or not at all.

    Args:
        checkpoint: the authors' file, its weights under 'state_dict'.
        out: folder to write; an older one is replaced.
        classes: what names the classes; see `released_names`.

    Returns:
        the size that was found.

    Raises:
        UserError: the file is missing, damaged, or of another model, has another number of
            classes, or `out` cannot be written; nothing is left behind then.

    """
    refuse_same(checkpoint, out)
    state, size = released_segformer(read_state(checkpoint))
    names = released_names(classes, size.classes)
    with new_folder(out) as folder:
        write_segformer(state, size, names, folder)
    return size


def write_segformer(state: Mapping[str, Tensor], size: SegformerSize, names: Sequence[str],
                    folder: Path) -> None:
    """Write weights, in transformers' names, and configuration into a folder that is there."""
    size.config(names).save_pretrained(folder)
    save_weights(state, folder / WEIGHTS)

"""
The released VIRST as a folder of ours.

    OUT/config.json           what the parts are
    OUT/language_model/       read by `VideoChatFlash.load`
    OUT/sam2/                 `Sam2VideoModel` of transformers
    OUT/fusion.safetensors    STF: initial_fusion.* and frame_prompts.*

Weights are read from the disk as they are written, one file of at most `SHARD_BYTES` at a time, so
that a few GB of memory suffice for 7 B parameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vseg_ros.atomic import refuse_same
from vseg_ros.models.checkpoint_folder import new_folder, save_weights
from vseg_ros.models.released_sam2 import write_sam2
from vseg_ros.virst.low_rank import ALPHA, write_low_rank
from vseg_ros.virst.released_plan import BASE, Conversion, DecoderWeights, plan_conversion
from vseg_ros.virst.video_chat_flash import VISION_WEIGHTS

CONFIG, LANGUAGE, SAM2, FUSION = 'config.json', 'language_model', 'sam2', 'fusion.safetensors'
SHARD_BYTES = 4 << 30
HEADS, GRID = 8, 8
"""Of both fusions; no weight tells them."""

Progress = Callable[[int, int, str], None]


def convert_virst(checkpoint: Path, out: Path, base: str = BASE, alpha: float = ALPHA,
                  keep_low_rank: bool = False, sam2: str | None = None,
                  progress: Progress | None = None) -> None:
    """
    Write a released checkpoint as a folder of ours, whole or not at all.

    Args:
        checkpoint: the authors' file.
        out: folder to write; an older one is replaced.
        base: folder or hub id of VideoChat-Flash-Qwen2.
        alpha: the low-rank matrices were trained with.
        keep_low_rank: whether they stay beside their layers, instead of being merged.
        sam2: folder or hub id with the configuration of the checkpoint's SAM 2; None tells the
            published ones by their size.
        progress: called with (done, total, text) in bytes.

    Raises:
        UserError: a file is missing, damaged, or of another model, or `out` cannot be written;
            nothing is left behind then.

    """
    refuse_same(checkpoint, out)
    refuse_same(Path(base) if Path(base).is_dir() else None, out)
    plan = plan_conversion(checkpoint, base, sam2)
    with new_folder(out) as folder:
        _write(plan, folder, alpha, keep_low_rank, progress or (lambda *_: None))


def _write(plan: Conversion, folder: Path, alpha: float, keep_low_rank: bool,
           progress: Progress) -> None:
    language = folder / LANGUAGE
    for place in (language, folder / SAM2):
        place.mkdir()
    _write_decoder(plan.decoder, language, None if keep_low_rank else alpha, progress)
    plan.decoder_config.save_pretrained(language)
    plan.tokenizer.save_pretrained(language)
    plan.language.write(language)
    save_weights(plan.video, language / VISION_WEIGHTS)
    if keep_low_rank and plan.decoder.low_rank:
        write_low_rank(plan.decoder.low_rank, language, alpha)
    write_sam2(plan.sam2, plan.sam2_config, folder / SAM2)
    fusions = {'initial_fusion': plan.initial_fusion, 'frame_prompts': plan.frame_prompts}
    save_weights({f'{part}.{name}': value for part, state in fusions.items()
                  for name, value in state.items()}, folder / FUSION)
    (folder / CONFIG).write_text(json.dumps(_describe(plan), indent=2) + '\n')


def _describe(plan: Conversion) -> dict[str, Any]:
    """Say what the parts are."""
    width, features = plan.frame_prompts['grid.convolutions.0.weight'].shape[:2]
    layers = {name.split('.')[1] for name in plan.frame_prompts if name.startswith('layers.')}
    return {
        'model_type': 'virst', 'format': 1,
        'language_model': {'family': 'video-chat-flash', 'folder': LANGUAGE,
                           'width': plan.decoder_config.hidden_size,
                           'prompts': plan.language.prompts},
        'sam2': {'folder': SAM2},
        'fusion': {'file': FUSION, 'features': features, 'width': width, 'grid': GRID,
                   'heads': HEADS, 'layers': len(layers)},
    }


def _write_decoder(weights: DecoderWeights, folder: Path, alpha: float | None,
                   progress: Progress) -> None:
    """Write the decoder as transformers does, in files of at most `SHARD_BYTES`."""
    sizes = {name: weights.byte_count(name) for name in weights.names}
    shards = list(in_shards(sizes, SHARD_BYTES))
    total, done, files = sum(sizes.values()), 0, {}
    for number, names in enumerate(shards, 1):
        file = ('model.safetensors' if len(shards) == 1 else
                f'model-{number:05d}-of-{len(shards):05d}.safetensors')
        held = {}
        for name in names:
            progress(done, total, f'language model, file {number} of {len(shards)}')
            held[name] = weights.read(name, alpha)
            files[name] = file
            done += sizes[name]
        save_weights(held, folder / file)
    progress(total, total, 'SAM 2 and STF')
    if len(shards) > 1:
        index = {'metadata': {'total_size': total}, 'weight_map': files}
        (folder / 'model.safetensors.index.json').write_text(json.dumps(index, indent=2) + '\n')


def in_shards(sizes: dict[str, int], most: int) -> Iterator[list[str]]:
    """Divide names into lists of at most `most` bytes each; one that is larger stands alone."""
    names: list[str] = []
    held = 0
    for name, size in sizes.items():
        if names and held + size > most:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    yield names

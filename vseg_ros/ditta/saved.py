"""
Keep what an adaptation learned, so that a robot can start FROZEN.

The file is safetensors: decoder and add-on, a few MB. Its metadata names the segmenter, the
classes and the radius it belongs to; a file that belongs to another segmenter is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vseg_ros.ditta.model import DittaModel
from vseg_ros.errors import UserError
from vseg_ros.io.atomic import atomic_file
from vseg_ros.labels import LabelSet

FORMAT = 'vseg_ros-ditta-1'
KEPT = ('decoder.', 'addon.')


def save_adapted(model: DittaModel, path: Path, segmenter: str, label_set: LabelSet) -> None:
    """
    Write decoder and add-on.

    Args:
        model: the adapted model.
        path: file to write; whatever is there is replaced when the new file is complete.
        segmenter: name of the segmenter that was adapted.
        label_set: its classes.

    Raises:
        UserError: the file cannot be written.

    """
    state = {name: value.detach().cpu().contiguous()
             for name, value in model.state_dict().items() if name.startswith(KEPT)}
    metadata = {'format': FORMAT, 'segmenter': segmenter,
                'classes': json.dumps(label_set.names), 'radius': str(model.addon.radius)}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(state, metadata))


def load_adapted(model: DittaModel, path: Path, segmenter: str, label_set: LabelSet) -> None:
    """
    Read decoder and add-on into a model.

    Args:
        model: of the same segmenter; changed in place only if the whole file fits.
        path: file written by `save_adapted`.
        segmenter: name of the segmenter in use, for the message.
        label_set: its classes.

    Raises:
        UserError: no such file, a damaged one, or one that belongs to another segmenter.

    """
    if not path.is_file():
        raise UserError(f'adapted_weights: there is no file {path}; leave it empty to warm up')
    try:
        with safe_open(path, framework='pt') as stored:
            metadata = stored.metadata() or {}
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f'adapted_weights: {path} is damaged ({error}); warm up again') from error
    if metadata.get('format') != FORMAT:
        raise UserError(f'adapted_weights: {path} was not written by DiTTA')
    wanted = {name: value for name, value in model.state_dict().items()
              if name.startswith(KEPT)}
    fits = (metadata['classes'] == json.dumps(label_set.names)
            and int(metadata['radius']) == model.addon.radius
            and {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in wanted.items()})
    if not fits:
        raise UserError(f'adapted_weights: {path} belongs to the segmenter '
                        f'{metadata["segmenter"]!r} with radius {metadata["radius"]}, not to '
                        f'{segmenter!r} with radius {model.addon.radius}')
    model.load_state_dict(state, strict=False)

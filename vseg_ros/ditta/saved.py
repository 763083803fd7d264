"""
Keep what an adaptation learned, so that a robot can start FROZEN.

The file is safetensors: decoder and add-on, a few MB. Its metadata names the segmenter, the
classes, the radius and a fingerprint of the decoder it started from; a file that belongs to
another segmenter is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from vseg_ros.atomic import atomic_file
from vseg_ros.ditta.model import DittaModel
from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet

FORMAT = 'vseg_ros-ditta-1'
KEPT = ('decoder.', 'addon.')


def save_adapted(model: DittaModel, path: Path, segmenter: str, label_set: LabelSet,
                 plain_decoder: nn.Module) -> None:
    """
    Write decoder and add-on.

    Args:
        model: the adapted model.
        path: file to write; whatever is there is replaced when the new file is complete.
        segmenter: name of the segmenter that was adapted.
        label_set: its classes.
        plain_decoder: its decoder before the adaptation.

    Raises:
        UserError: the file cannot be written.

    """
    state = {name: value.detach().cpu().contiguous()
             for name, value in model.state_dict().items() if name.startswith(KEPT)}
    metadata = {'format': FORMAT, 'segmenter': segmenter,
                'classes': json.dumps(label_set.names), 'radius': str(model.addon.radius),
                'fingerprint': _fingerprint(plain_decoder)}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(state, metadata))


def load_adapted(model: DittaModel, path: Path, segmenter: str, label_set: LabelSet) -> None:
    """
    Read decoder and add-on into a model.

    Args:
        model: of the same segmenter, not adapted; changed in place only if the whole file fits.
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
    shapes = {name: value.shape for name, value in wanted.items()}
    if (metadata.get('classes') != json.dumps(label_set.names)
            or {name: value.shape for name, value in state.items()} != shapes
            or metadata.get('fingerprint') != _fingerprint(model.decoder)):
        raise UserError(f'adapted_weights: {path} belongs to the segmenter '
                        f'{metadata.get("segmenter")!r}, whose classes or weights are not those '
                        f'of {segmenter!r}: warm up again')
    if metadata.get('radius') != str(model.addon.radius):
        raise UserError(f'adapted_weights: {path} was learned with -p fusion.radius='
                        f'{metadata.get("radius")}, not {model.addon.radius}: set that, or warm '
                        'up again')
    model.load_state_dict(state, strict=False)


def _fingerprint(decoder: nn.Module) -> str:
    """Digest of a decoder's weights and statistics, the same on every device."""
    digest = hashlib.sha256()
    for name, value in sorted(decoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

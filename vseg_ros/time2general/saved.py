"""
Trained Time2General on disk: one safetensors file with the head alone, in fp16.

The frozen backbones are not in it. The metadata name them with the architecture, the classes and
a digest of each backbone, so that a head is never run on features it was not trained on.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.failure import first_line
from vseg_ros.labels import LabelSet
from vseg_ros.models.digest import digest
from vseg_ros.models.stored_weights import read_weights, write_weights
from vseg_ros.models.token_backbone import load_backbone
from vseg_ros.time2general.depth_prior import check_same_grid, load_depth_tokens
from vseg_ros.time2general.model import Time2General, Time2GeneralHead
from vseg_ros.time2general.text_prior import class_embeddings
from vseg_ros.training_settings import Time2GeneralModelSettings
from vseg_ros.weights import find_weights

ARCHITECTURE = 'time2general'
_TEXT = 'text.embeddings'


def new_time2general(settings: Time2GeneralModelSettings, label_set: LabelSet) -> Time2General:
    """
    Make a model with a random head on its frozen backbones.

    Raises:
        UserError: a backbone or prior cannot be loaded.

    """
    embeddings = (class_embeddings(settings.text_prior, label_set.names)
                  if settings.text_prior else None)
    return _build(settings, label_set, embeddings)


def load_time2general(name: str) -> Time2General:
    """
    Load a trained model, ready to infer (eval mode, float32, on the CPU).

    Args:
        name: bundled name, or path of a file written by `write_time2general`.

    Raises:
        UserError: nothing has that name, what has it is damaged or of another kind, or its
            backbone is not the one it was trained on.

    """
    weights = find_weights(name)
    if weights.path is None or weights.kind == 'folder':
        raise UserError(f'{name!r} holds no Time2General: give a bundled name or a file written '
                        'by `vseg train time2general`')
    return read_time2general(weights.path)


def read_time2general(path: Path) -> Time2General:
    """
    Read a trained model from its file; arguments and errors as for `load_time2general`.

    Raises:
        UserError: see there.

    """
    state, metadata = read_weights(path)
    if metadata.get('architecture') != ARCHITECTURE:
        raise UserError(f'{path} holds no Time2General: it must be written by '
                        '`vseg train time2general`')
    try:
        settings = Time2GeneralModelSettings.model_validate_json(metadata['settings'])
        label_set = LabelSet.from_names(json.loads(metadata['classes']))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise _damaged(path, error) from error
    embeddings = state.get(_TEXT)
    if embeddings is not None and (embeddings.ndim != 2 or len(embeddings) != len(label_set)):
        raise _damaged(path, ValueError(f'text embeddings {list(embeddings.shape)} for '
                                        f'{len(label_set)} classes'))
    model = _build(settings, label_set, embeddings)
    try:
        model.head.load_state_dict(state)
    except RuntimeError as error:
        raise _damaged(path, error) from error
    _check_backbones(path, metadata, model)
    return model.eval().requires_grad_(False)


def write_time2general(model: Time2General, path: Path) -> None:
    """Write the head of a model to a safetensors file, in fp16, with metadata."""
    metadata = {'architecture': ARCHITECTURE,
                'settings': model.head.settings.model_dump_json(),
                'classes': json.dumps(model.label_set.names),
                'backbone_digest': digest(model.backbone)}
    if model.depth is not None:
        metadata['depth_digest'] = digest(model.depth)
    write_weights(model.head.state_dict(), path, metadata)


def _build(settings: Time2GeneralModelSettings, label_set: LabelSet,
           embeddings: Tensor | None) -> Time2General:
    backbone = load_backbone(settings.backbone, settings.blocks)
    depth = (load_depth_tokens(settings.depth_prior, settings.blocks)
             if settings.depth_prior else None)
    if depth is not None:
        check_same_grid(backbone, depth)
    head = Time2GeneralHead(backbone.widths, len(label_set), settings, embeddings,
                            () if depth is None else depth.widths)
    return Time2General(head, backbone, label_set, depth)


def _check_backbones(path: Path, metadata: dict[str, str], model: Time2General) -> None:
    settings = model.head.settings
    for key, name, backbone in (('backbone_digest', settings.backbone, model.backbone),
                                ('depth_digest', settings.depth_prior, model.depth)):
        if backbone is not None and metadata.get(key) != digest(backbone):
            raise UserError(f'{path} was trained on another {name} than the one that is here: '
                            'train it again, or bring back the old one')


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f'{path} does not fit its own metadata ({first_line(error)}): it is '
                     'damaged, train or copy it again')

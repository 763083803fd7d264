"""
A `VideoScore` as a file: the SHA-256 of what follows, then a NumPy archive (.npz).

Numbers keep every bit. The digest in front finds any damage, so a file is read whole or refused.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vseg_ros.evaluation.results import VideoSpan
from vseg_ros.evaluation.samples import SampledFrame
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.evaluation.windows import WindowMean
from vseg_ros.labels import LabelSet

_DIGEST_BYTES = hashlib.sha256().digest_size
_SERIES = ('flicker', 'still_flicker', 'seconds', 'timeline')
_PICTURES = ('image', 'labels', 'prediction', 'changed')


class DamagedScoreError(ValueError):
    """The bytes are not those that were written."""


def pack_score(score: VideoScore) -> bytes:
    """Turn a score into the bytes of its file."""
    arrays: dict[str, NDArray[Any]] = {name: getattr(score, name)
                                       for name in ('confusion', *_SERIES)}
    for number, sample in enumerate(score.samples):
        for name in _PICTURES:
            if (picture := getattr(sample, name)) is not None:
                arrays[f'{name}{number}'] = picture
    arrays['facts'] = np.frombuffer(json.dumps(_facts(score)).encode(), np.uint8)
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]
    data = archive.getvalue()
    return hashlib.sha256(data).digest() + data


def _facts(score: VideoScore) -> dict[str, Any]:
    """Return everything that is no array."""
    return {
        'span': vars(score.span), 'label_set': vars(score.label_set),
        'truth': score.truth and vars(score.truth),
        'windows': list(score.windows.totals.items()), 'form': score.form,
        'history': score.history, 'message': score.message,
        'samples': [sample.index for sample in score.samples]}


def unpack_score(content: bytes) -> VideoScore:
    """
    Read a score from the bytes of its file.

    Raises:
        DamagedScoreError: the file is cut short or was changed.

    """
    digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise DamagedScoreError('the digest does not fit the content')
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    facts = json.loads(arrays['facts'].tobytes())
    return VideoScore(
        span=VideoSpan(**facts['span']), label_set=_label_set(facts['label_set']),
        truth=facts['truth'] and _label_set(facts['truth']), confusion=arrays['confusion'],
        windows=WindowMean.of_totals({window: (share, count)
                                      for window, (share, count) in facts['windows']}),
        form=facts['form'], **{name: arrays[name] for name in _SERIES},
        history=tuple(facts['history']), message=facts['message'],
        samples=tuple(
            SampledFrame(index, arrays[f'image{number}'], arrays.get(f'labels{number}'),
                         arrays[f'prediction{number}'], arrays[f'changed{number}'])
            for number, index in enumerate(facts['samples'])))


def _label_set(facts: Mapping[str, Any]) -> LabelSet:
    return LabelSet(tuple(facts['names']), tuple(tuple(color) for color in facts['palette']),
                    facts['ignore_id'])

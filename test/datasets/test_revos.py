"""ReVOS: kinds of sentences and the foreground."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vseg_ros.datasets.coco_rle import encode_rle
from vseg_ros.datasets.referring import NO_MATCH
from vseg_ros.datasets.revos import revos_clips
from vseg_ros.errors import UserError

MASKS = np.random.default_rng(3).random((2, 2, 24, 32)) < 0.3


@pytest.fixture
def root(tmp_path, image_writer, expressions_writer):
    def told(kind, *ids):
        return {'exp': f'kind {kind}', 'obj_id': list(ids), 'anno_id': list(ids), 'type_id': kind}
    expressions_writer(tmp_path / 'meta_expressions_valid_.json', {'MOSE/v1': {
        'vid_id': 0, 'height': 24, 'width': 32, 'frames': ['00000', '00001'],
        'expressions': {'0': told(0, 7), '1': told(1, 7, 9), '2': told(2)}}})
    for frame in ('00000', '00001'):
        image_writer(tmp_path / 'JPEGImages/MOSE/v1' / f'{frame}.jpg')
    (tmp_path / 'mask_dict.json').write_text(json.dumps({
        key: [encode_rle(mask) for mask in MASKS[i]] for i, key in enumerate('79')}))
    (tmp_path / 'mask_dict_foreground.json').write_text(json.dumps({'MOSE/v1': {
        'masks_rle': [encode_rle(mask) for mask in MASKS.any(axis=0)],
        'foreground_ratio': [0.5, 0.5]}}))
    return tmp_path


def test_kinds_masks_and_foreground(root):
    clips = revos_clips(root)
    assert [(clip.name, clip.group) for clip in clips] == [
        ('MOSE/v1', 'referring'), ('MOSE/v1', 'reasoning'), ('MOSE/v1', NO_MATCH)]
    assert np.array_equal(clips[0].masks(), MASKS[0])
    assert np.array_equal(clips[1].masks(), MASKS.any(axis=0))
    assert np.array_equal(clips[2].masks(), np.zeros_like(MASKS[0]))
    assert np.array_equal(clips[2].foreground(), MASKS.any(axis=0))


def test_the_foreground_may_be_missing(root):
    (root / 'mask_dict_foreground.json').unlink()
    assert revos_clips(root)[0].foreground() is None


def test_what_is_wrong_is_named(root):
    with pytest.raises(UserError, match="no split 'test': choose train or valid"):
        revos_clips(root, 'test')
    with pytest.raises(UserError, match=r'no file .*meta_expressions_train_\.json: revos has'):
        revos_clips(root, 'train')
    path = root / 'meta_expressions_valid_.json'
    path.write_text(path.read_text().replace('"type_id": 1', '"type_id": 4'))
    with pytest.raises(UserError, match='whose type_id is none of 0, 1 and 2'):
        revos_clips(root)

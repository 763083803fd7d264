"""MeViS: unions of annotations, splits with and without masks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vseg_ros.datasets.coco_rle import encode_rle
from vseg_ros.datasets.mevis import mevis_clips
from vseg_ros.errors import UserError

MASKS = np.random.default_rng(3).random((2, 2, 24, 32)) < 0.3


@pytest.fixture
def root(tmp_path, image_writer, expressions_writer):
    for split in ('train', 'valid_u', 'valid'):
        known = split != 'valid'
        expressions_writer(tmp_path / split / 'meta_expressions.json', {'v1': {
            'vid_id': 0, 'frames': ['00000', '00001'], 'expressions': {
                '0': {'exp': 'both'} | ({'obj_id': [0, 1], 'anno_id': [7, 9]} if known else {}),
                '1': {'exp': 'one'} | ({'obj_id': [1], 'anno_id': [9]} if known else {})}}})
        for frame in ('00000', '00001'):
            image_writer(tmp_path / split / 'JPEGImages' / 'v1' / f'{frame}.jpg')
        if known:
            (tmp_path / split / 'mask_dict.json').write_text(json.dumps({
                '7': [encode_rle(MASKS[0, 0]), None],
                '9': [encode_rle(mask) for mask in MASKS[1]]}))
    return tmp_path


@pytest.mark.parametrize('split', ['train', 'valid_u', None])
def test_a_sentence_names_the_union_of_its_annotations(root, split):
    both, one = mevis_clips(root, split)
    assert (both.name, both.expression_id, both.expression) == ('v1', '0', 'both')
    assert np.array_equal(both.masks(), [MASKS[0, 0] | MASKS[1, 0], MASKS[1, 1]])
    assert np.array_equal(one.masks(), MASKS[1])


def test_valid_has_no_masks(root):
    assert [clip.masks() for clip in mevis_clips(root, 'valid')] == [None, None]


def test_what_is_wrong_is_named(root):
    with pytest.raises(UserError, match="no split 'val': choose train, valid_u, valid"):
        mevis_clips(root, 'val')
    path = root / 'train' / 'mask_dict.json'
    path.write_text('{"7": [null, null]}')
    with pytest.raises(UserError, match='no track of 2 frames for the annotation 9'):
        mevis_clips(root, 'train')
    path.unlink()
    with pytest.raises(UserError, match=r'no file .*train/mask_dict\.json: mevis has'):
        mevis_clips(root, 'train')

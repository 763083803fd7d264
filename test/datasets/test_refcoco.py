"""RefCOCO: sentences about images, outlines of every form, a pickle that runs no code."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest

from vseg_ros.datasets.coco_rle import encode_rle
from vseg_ros.datasets.refcoco import refcoco_clips
from vseg_ros.errors import UserError

BLOB = np.random.default_rng(1).random((24, 32)) < 0.4
BOX = np.zeros((24, 32), bool)
BOX[2:10, 3:20] = True
SEGMENTS = {1: [[3, 2, 20, 2, 20, 10, 3, 10]], 2: encode_rle(BLOB)}


def reference(number, image, annotation, split, *sentences):
    return {'ref_id': number, 'ann_id': annotation, 'category_id': 1, 'image_id': image,
            'split': split, 'file_name': 'COCO_0_1.jpg', 'sentences': [
                {'sent_id': 10 * number + i, 'sent': text, 'raw': text, 'tokens': text.split()}
                for i, text in enumerate(sentences)]}


REFERENCES = [reference(1, 6, 1, 'val', 'left box', 'the box'), reference(2, 5, 2, 'val', 'blob'),
              reference(3, 6, 2, 'val', 'other'), reference(4, 5, 1, 'testA', 'test')]


@pytest.fixture
def root(tmp_path, image_writer):
    names = {5: 'COCO_train2014_000000000005.jpg', 6: 'COCO_train2014_000000000006.jpg'}
    for name in names.values():
        image_writer(tmp_path / 'images/mscoco/images/train2014' / name)
    folder = tmp_path / 'refcoco+'
    folder.mkdir()
    (folder / 'instances.json').write_text(json.dumps({
        'images': [{'id': key, 'file_name': name, 'height': 24, 'width': 32}
                   for key, name in names.items()],
        'annotations': [{'id': key, 'image_id': 6, 'category_id': 1, 'segmentation': segments}
                        for key, segments in SEGMENTS.items()],
        'categories': [{'id': 1, 'name': 'thing'}]}))
    # The published files are of Python 2: the oldest protocol.
    (folder / 'refs(unc).p').write_bytes(pickle.dumps(REFERENCES, protocol=0))
    return folder


def test_a_clip_a_sentence_image_by_image(root):
    clips = refcoco_clips(root)
    assert [(clip.name[-1], clip.expression_id, clip.expression) for clip in clips] == [
        ('5', '20', 'blob'), ('6', '10', 'left box'), ('6', '11', 'the box'), ('6', '30', 'other')]
    assert np.array_equal(clips[0].masks(), BLOB[None])
    assert np.array_equal(clips[1].masks(), BOX[None])
    assert clips[0].frames()[0].size == (24, 32)


def test_splits(root):
    assert [clip.expression for clip in refcoco_clips(root, 'testA')] == ['test']
    assert [clip.expression for clip in refcoco_clips(root, 'test')] == ['test']
    with pytest.raises(UserError, match="no split 'testB': choose testA, val"):
        refcoco_clips(root, 'testB')


def test_several_targets_and_none(root):
    (root / 'refs(unc).p').unlink()
    (root / 'grefs(unc).json').write_text(json.dumps([
        reference(1, 6, [1, 2], 'val', 'both'), reference(2, 6, [-1], 'val', 'nothing')]))
    both, nothing = refcoco_clips(root)
    assert np.array_equal(both.masks(), (BOX | BLOB)[None])
    assert not nothing.masks().any()


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_runs_no_code(root, tmp_path):
    harm = tmp_path / 'harm'
    data = pickle.dumps([Harmful(str(harm))])
    (root / 'refs(unc).p').write_bytes(data)
    with pytest.raises(UserError, match=r'cannot read .*refs\(unc\)\.p .*mkdir is no plain data'):
        refcoco_clips(root)
    assert not harm.exists()
    pickle.loads(data)  # an ordinary reader would have run it
    assert harm.exists()


def test_what_is_wrong_is_named(root):
    path = root / 'refs(unc).p'
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(UserError, match=r'cannot read .*refs\(unc\)\.p'):
        refcoco_clips(root)
    path.write_bytes(pickle.dumps([{'split': 'val'}]))
    with pytest.raises(UserError, match='is no list of references'):
        refcoco_clips(root)
    path.write_bytes(whole)
    told = (root / 'instances.json').read_text()
    (root / 'instances.json').write_text(told.replace('"id": 2', '"id": 4'))
    with pytest.raises(UserError, match=r'instances\.json does not fit its references'):
        refcoco_clips(root)
    (root / 'instances.json').write_text(told.replace('[[3, 2, 20, 2, ', '[[3, '))
    with pytest.raises(UserError, match=r'object of COCO_train2014_0+6\.jpg has a damaged'):
        refcoco_clips(root)[1].masks()
    shutil.rmtree(root.parent / 'images')
    with pytest.raises(UserError, match=r'no folder .*train2014: refcoco is a folder'):
        refcoco_clips(root)
    path.unlink()
    with pytest.raises(UserError, match=r'no refs\(unc\)\.p, .* in .*: refcoco is'):
        refcoco_clips(root)

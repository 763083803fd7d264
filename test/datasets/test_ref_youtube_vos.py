"""Ref-YouTube-VOS: masks by object id, valid without the videos of test."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vseg_ros.datasets.ref_youtube_vos import ref_youtube_vos_clips
from vseg_ros.errors import UserError

IDS = np.arange(24 * 32).reshape(24, 32) // 200


@pytest.fixture
def root(tmp_path, image_writer, palette_writer, expressions_writer):
    def told(*objects):
        return {'frames': ['00000', '00005'], 'expressions': {
            str(i): {'exp': f'thing {i}'} | ({'obj_id': key} if key else {})
            for i, key in enumerate(objects)}}
    for split, videos in (('train', {'b1': told('1', '2'), 'a1': told('3')}),
                          ('valid', {'c1': told(None), 'd1': told(None)}),
                          ('test', {'d1': told(None)})):
        expressions_writer(tmp_path / 'meta_expressions' / split / 'meta_expressions.json', videos)
        for video in videos:
            data = tmp_path / ('valid' if split == 'test' else split)
            for frame in ('00000', '00005'):
                image_writer(data / 'JPEGImages' / video / f'{frame}.jpg')
                if split == 'train':
                    palette_writer(data / 'Annotations' / video / f'{frame}.png',
                                   np.roll(IDS, int(frame), axis=0))
    return tmp_path


def test_train_has_the_masks_of_the_named_object(root):
    clips = ref_youtube_vos_clips(root, 'train')
    assert [(clip.name, clip.expression_id, clip.expression) for clip in clips] == [
        ('a1', '0', 'thing 0'), ('b1', '0', 'thing 0'), ('b1', '1', 'thing 1')]
    wanted = np.stack([IDS, np.roll(IDS, 5, axis=0)])
    for clip, number in zip(clips, (3, 1, 2), strict=True):
        assert np.array_equal(clip.masks(), wanted == number)
    assert [frame.stamp for frame in clips[0].frames()] == [0, 166_666_667]


def test_valid_is_without_test_and_without_masks(root):
    clip, = ref_youtube_vos_clips(root)
    assert (clip.name, clip.frame_names, clip.masks()) == ('c1', ('00000', '00005'), None)
    assert [clip.name for clip in ref_youtube_vos_clips(root, 'test')] == ['d1']
    shutil.rmtree(root / 'meta_expressions' / 'test')
    assert [clip.name for clip in ref_youtube_vos_clips(root, 'valid')] == ['c1', 'd1']


def test_what_is_missing_is_named(root):
    with pytest.raises(UserError, match="no split 'dev': choose train, valid or test"):
        ref_youtube_vos_clips(root, 'dev')
    shutil.rmtree(root / 'valid' / 'JPEGImages' / 'c1')
    with pytest.raises(UserError, match=r'no folder .*JPEGImages/c1: ref-youtube-vos has'):
        ref_youtube_vos_clips(root)
    (root / 'train' / 'Annotations' / 'a1' / '00005.png').unlink()
    with pytest.raises(UserError, match=r'cannot read the mask .*a1/00005\.png'):
        ref_youtube_vos_clips(root, 'train')[0].masks()
    shutil.rmtree(root / 'train' / 'Annotations')
    with pytest.raises(UserError, match=r'no folder .*train/Annotations'):
        ref_youtube_vos_clips(root, 'train')
    (root / 'meta_expressions' / 'valid' / 'meta_expressions.json').unlink()
    with pytest.raises(UserError, match=r'no file .*valid/meta_expressions\.json'):
        ref_youtube_vos_clips(root)
    with pytest.raises(UserError, match=r'no folder .*none: ref-youtube-vos has'):
        ref_youtube_vos_clips(root / 'none')

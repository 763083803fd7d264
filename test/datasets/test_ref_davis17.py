"""Ref-DAVIS17: four sentences an object, as published and as most works convert it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vseg_ros.datasets.ref_davis17 import ANNOTATIONS, ref_davis17_clips
from vseg_ros.errors import UserError

IDS = np.arange(24 * 32).reshape(24, 32) // 300
IDS[0, :4] = 255
VIDEOS = {'valid': ('classic-car', 'dogs-jump'), 'train': ('motorbike',)}
MISSPELT = {'classic-car': 'clasic-car', 'motorbike': 'motor-bike'}
FILES = ('Davis17_annot1.txt', 'Davis17_annot1_full_video.txt', 'Davis17_annot2.txt',
         'Davis17_annot2_full_video.txt')


def write_video(images, annotations, image_writer, palette_writer):
    for frame in ('00000', '00001'):
        image_writer(images / f'{frame}.jpg')
        palette_writer(annotations / f'{frame}.png', np.roll(IDS, int(frame), axis=1))


@pytest.fixture
def published(tmp_path, image_writer, palette_writer):
    root = tmp_path / 'published'
    texts = root / 'davis_text_annotations'
    texts.mkdir(parents=True)
    for place, name in enumerate(FILES):
        lines = [f'{MISSPELT.get(video, video)} {number} "{video} {number} by {place} \u00e9"'
                 for videos in VIDEOS.values() for video in videos for number in (2, 1)]
        (texts / name).write_text('\n'.join(lines) + '\n', 'latin-1' if place > 1 else 'utf-8')
    for split, videos in VIDEOS.items():
        listed = root / f'DAVIS/ImageSets/2017/{"val" if split == "valid" else split}.txt'
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text('\n'.join(videos) + '\n')
        for video in videos:
            write_video(root / 'DAVIS/JPEGImages/480p' / video,
                        root / 'DAVIS/Annotations_unsupervised/480p' / video, image_writer,
                        palette_writer)
    return root


@pytest.fixture
def converted(tmp_path, image_writer, palette_writer, expressions_writer):
    root = tmp_path / 'converted'
    for split, videos in VIDEOS.items():
        told = {video: {'frames': ['00000', '00001'], 'expressions': {
            str(4 * i + place): {'exp': f'{video} {number} by {place} \u00e9',
                                 'obj_id': str(number)}
            for i, number in enumerate((1, 2)) for place in range(4)}} for video in videos}
        expressions_writer(root / 'meta_expressions' / split / 'meta_expressions.json', told)
        for video in videos:
            write_video(root / split / 'JPEGImages' / video, root / split / 'Annotations' / video,
                        image_writer, palette_writer)
    return root


@pytest.mark.parametrize('layout', ['published', 'converted'])
@pytest.mark.parametrize('split', ['valid', 'train'])
def test_both_layouts_give_the_same_clips(layout, split, request):
    clips = ref_davis17_clips(request.getfixturevalue(layout), split)
    wanted = [(video, str(4 * (number - 1) + place), f'{video} {number} by {place} \u00e9',
               ANNOTATIONS[place]) for video in VIDEOS[split] for number in (1, 2)
              for place in range(4)]
    assert [(clip.name, clip.expression_id, clip.expression, clip.group)
            for clip in clips] == wanted
    ids = np.stack([IDS, np.roll(IDS, 1, axis=1)])
    assert np.array_equal(clips[5].masks(), ids == 2)
    assert np.array_equal(clips[5].ignored(), ids == 255)
    assert clips[0].frames()[1].stamp == 41_666_667


def test_valid_is_evaluated_by_default_and_called_val_by_davis(published):
    names = [clip.name for clip in ref_davis17_clips(published)]
    assert names == [clip.name for clip in ref_davis17_clips(published, 'val')]
    assert set(names) == set(VIDEOS['valid'])


def test_what_is_wrong_is_named(published, converted):
    with pytest.raises(UserError, match="no split 'test': choose train or valid"):
        ref_davis17_clips(published, 'test')
    text = published / 'davis_text_annotations' / FILES[2]
    lines = text.read_text('latin-1').splitlines()
    text.write_text('\n'.join(line for line in lines if 'dogs' not in line), 'latin-1')
    with pytest.raises(UserError, match='no sentences about dogs-jump by both'):
        ref_davis17_clips(published)
    text.write_text('a line\n')
    with pytest.raises(UserError, match=r"annot2\.txt has a line .* such as 'a line'"):
        ref_davis17_clips(published)
    text.unlink()
    with pytest.raises(UserError, match=r'no file .*Davis17_annot2\.txt: ref-davis17 has'):
        ref_davis17_clips(published)
    meta = converted / 'meta_expressions/valid/meta_expressions.json'
    meta.write_text(meta.read_text().replace('"obj_id": "1"', '"obj": "1"'))
    with pytest.raises(UserError, match='expression 0 of classic-car has no object'):
        ref_davis17_clips(converted)
    shutil.rmtree(converted / 'train' / 'Annotations')
    with pytest.raises(UserError, match=r'no folder .*train/Annotations'):
        ref_davis17_clips(converted, 'train')

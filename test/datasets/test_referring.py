"""Clips of sentences: what is read, when, and what a damaged list is called."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.coco_rle import encode_rle
from vseg_ros.datasets.referring import (
    ReferringClip,
    by_video,
    read_expressions,
    read_object_ids,
    run_length_masks,
    tracks_by_id,
)
from vseg_ros.errors import UserError

MASKS = np.random.default_rng(0).random((3, 24, 32)) < 0.5


@pytest.fixture
def files(tmp_path, image_writer):
    return tuple(image_writer(tmp_path / 'v' / f'{5 * i:05}.jpg', 40 * i) for i in range(3))


def test_frames_and_masks_are_read_when_asked_for(files):
    read = []

    def reader(number):
        read.append(number)
        return MASKS[number]
    clip = ReferringClip('v', 'the red car', '0', files, 6.0, reader)
    assert (len(clip), clip.frame_names, clip.has_masks) == (3, ('00000', '00005', '00010'), True)
    assert not read
    assert np.array_equal(clip.masks([2, 0]), MASKS[[2, 0]])
    assert read == [2, 0]
    frames = clip.frames([1, 2])
    assert [frame.stamp for frame in frames] == [166_666_667, 333_333_333]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [40, 80]
    assert len(clip.frames()) == 3
    assert clip.foreground() is None
    assert clip.ignored() is None
    assert ReferringClip('v', 'x', '1', files, 6.0).masks() is None
    files[1].unlink()
    with pytest.raises(UserError, match=r'cannot read .*00005\.jpg'):
        clip.frames()


def test_masks_of_several_sizes_are_told(files):
    clip = ReferringClip('v', 'x', '7', files, 6.0, lambda number: MASKS[0][:number + 3])
    with pytest.raises(UserError, match='masks of v, expression 7, have several sizes'):
        clip.masks()


def test_clips_of_a_video_stay_together(files):
    clips = [ReferringClip(name, 'x', str(i), files, 6.0) for i, name in enumerate('aabba')]
    assert [[clip.expression_id for clip in group] for group in by_video(clips)] == [
        ['0', '1'], ['2', '3'], ['4']]


def test_a_palette_keeps_its_ids(tmp_path, palette_writer):
    ids = np.arange(24 * 32).reshape(24, 32) % 256
    assert np.array_equal(read_object_ids(palette_writer(tmp_path / 'a.png', ids)), ids)
    cv2.imwrite(str(tmp_path / 'grey.png'), ids.astype(np.uint8))
    assert np.array_equal(read_object_ids(tmp_path / 'grey.png'), ids)


def test_no_map_of_ids_is_told(tmp_path, image_writer, palette_writer):
    with pytest.raises(UserError, match=r'c\.png is no map of object ids'):
        read_object_ids(image_writer(tmp_path / 'c.png'))
    path = palette_writer(tmp_path / 'cut.png', np.arange(24 * 32).reshape(24, 32) % 251)
    path.write_bytes(path.read_bytes()[:60])
    for name in ('cut.png', 'none.png'):
        with pytest.raises(UserError, match=f'cannot read the mask .*{name}'):
            read_object_ids(tmp_path / name)


def test_run_lengths_of_several_objects_are_united(files):
    tracks = [[encode_rle(MASKS[0]), None, None], [encode_rle(MASKS[1]), encode_rle(MASKS[2]),
                                                   None]]
    read = run_length_masks(tracks, files, 'the mask')
    assert np.array_equal(read(0), MASKS[0] | MASKS[1])
    assert np.array_equal(read(1), MASKS[2])
    assert read(2).shape == (24, 32)
    assert not read(2).any()
    # Nothing is annotated: the image tells the size.
    assert run_length_masks([], files, 'the mask')(0).shape == (24, 32)
    tracks[1][1]['counts'] = '525'
    with pytest.raises(UserError, match='the mask is damaged in frame 1'):
        read(1)


def test_a_track_has_every_frame(tmp_path):
    masks = {'3': [None, None]}
    assert tracks_by_id(masks, [3], 2, tmp_path) == [[None, None]]
    for key, frames in ((3, 3), (4, 2)):
        with pytest.raises(UserError, match=f'no track of {frames} frames for the annotation '
                                            f'{key}'):
            tracks_by_id(masks, [key], frames, tmp_path)


VIDEO = {'frames': ['00000'], 'expressions': {'0': {'exp': 'a'}}}


def test_expressions_are_read(tmp_path, expressions_writer):
    path = expressions_writer(tmp_path / 'm.json', {'b/v': VIDEO, 'a': VIDEO})
    videos = read_expressions(path, 'layout')
    assert [(video.video, video.frames) for video in videos] == [
        ('b/v', ('00000',)), ('a', ('00000',))]
    assert videos[0].expressions == {'0': {'exp': 'a'}}


@pytest.mark.parametrize('videos', [
    {'../v': VIDEO}, {'/v': VIDEO}, {'': VIDEO}, {'v': {'frames': ['00000']}}, {'v': []},
    {'v': VIDEO | {'frames': []}}, {'v': VIDEO | {'frames': ['a/b']}},
    {'v': VIDEO | {'frames': [3]}}, {'v': VIDEO | {'expressions': {'..': {'exp': 'a'}}}},
    {'v': VIDEO | {'expressions': {'0': {'exp': 3}}}}])
def test_lists_that_would_lead_astray_are_refused(tmp_path, expressions_writer, videos):
    path = expressions_writer(tmp_path / 'm.json', videos)
    with pytest.raises(UserError, match=r'm\.json does not tell frames and expressions'):
        read_expressions(path, 'layout')


def test_missing_and_damaged_lists_are_named(tmp_path, expressions_writer):
    with pytest.raises(UserError, match=r'no file .*m\.json: this is the layout'):
        read_expressions(tmp_path / 'm.json', 'this is the layout')
    (tmp_path / 'm.json').write_text('{"videos": ')
    with pytest.raises(UserError, match=r'cannot read .*m\.json \(JSONDecodeError\)'):
        read_expressions(tmp_path / 'm.json', '')
    with pytest.raises(UserError, match='names no video'):
        read_expressions(expressions_writer(tmp_path / 'm.json', {}), '')

"""The folders that servers accept: whole or not at all, gone on with, archived."""

from __future__ import annotations

import json
import os
import zipfile

import cv2
import numpy as np
import pytest

from vseg_ros.datasets.referring import ReferringClip
from vseg_ros.errors import UserError
from vseg_ros.evaluation.referring_results import AnswerFolder

MASKS = np.random.default_rng(0).random((2, 12, 16)) < 0.5
ABOUT = {'pipeline': 'virst', 'settings': {'window': {'max_frames': 64}, 'sizes': (1, 2)}}


@pytest.fixture
def clips(tmp_path):
    files = tuple(tmp_path / f'{i:05}.jpg' for i in (0, 5))
    return [ReferringClip(name, 'a', key, files, 6.0) for name, key in (('v', '0'), ('v', '12'),
                                                                        ('d/w', '0'))]


def names(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_images_are_0_and_255_in_the_servers_layout(tmp_path, clips):
    folder = AnswerFolder(tmp_path / 'out', 'mevis', ABOUT)
    assert not folder.has(clips[0])
    folder.write(clips[0], MASKS)
    assert folder.has(clips[0])
    assert not folder.has(clips[1])
    assert np.array_equal(folder.read(clips[0]), MASKS)
    image = cv2.imread(str(tmp_path / 'out/Annotations/v/0/00005.png'), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    assert np.array_equal(image, MASKS[1] * 255)
    assert sorted(os.listdir(tmp_path / 'out/Annotations/v')) == ['0']


@pytest.mark.parametrize(('format', 'top'), [('ref-youtube-vos', 'Annotations/'), ('mevis', ''),
                                             ('revos', ''), ('ref-davis17', '')])
def test_the_archive_holds_what_was_asked_and_no_more(tmp_path, clips, format, top):
    folder = AnswerFolder(tmp_path / 'out', format, ABOUT)
    for clip in clips:
        folder.write(clip, MASKS)
    (tmp_path / 'out/Annotations/v/0/stray.png').write_bytes(b'x')
    archive = folder.archive([clips[0], clips[2]])
    assert archive == tmp_path / 'out' / 'submission.zip'
    assert names(archive) == [f'{top}{video}/0/{frame}.png' for video in ('v', 'd/w')
                              for frame in ('00000', '00005')]
    first = archive.read_bytes()
    assert folder.archive([clips[0], clips[2]]).read_bytes() == first


def test_an_archive_needs_every_mask(tmp_path, clips):
    folder = AnswerFolder(tmp_path / 'out', 'mevis', ABOUT)
    folder.write(clips[0], MASKS)
    with pytest.raises(UserError, match=r'submission\.zip'):
        folder.archive(clips)
    assert not (tmp_path / 'out' / 'submission.zip').exists()


def test_a_failed_expression_leaves_nothing(tmp_path, clips):
    folder = AnswerFolder(tmp_path / 'out', 'mevis', ABOUT)
    with pytest.raises(ValueError, match='zip'):
        folder.write(clips[0], MASKS[:1])
    assert os.listdir(tmp_path / 'out/Annotations/v') == []
    assert not folder.has(clips[0])


def test_a_folder_is_gone_on_with_by_the_same_model_alone(tmp_path, clips):
    AnswerFolder(tmp_path / 'out', 'mevis', ABOUT).write(clips[0], MASKS)
    assert AnswerFolder(tmp_path / 'out', 'mevis', ABOUT).has(clips[0])
    with pytest.raises(UserError, match='answers with another settings: choose another folder'):
        AnswerFolder(tmp_path / 'out', 'mevis', ABOUT | {'settings': {}})
    with pytest.raises(UserError, match='answers with another format'):
        AnswerFolder(tmp_path / 'out', 'revos', ABOUT)
    about = json.loads((tmp_path / 'out/answers.json').read_text())
    assert about['pipeline'] == 'virst'
    (tmp_path / 'out/answers.json').write_text('{')
    with pytest.raises(UserError, match=r'cannot read .*answers\.json'):
        AnswerFolder(tmp_path / 'out', 'mevis', ABOUT)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.tex').write_text('x')
    with pytest.raises(UserError, match='mine is a folder of other things'):
        AnswerFolder(tmp_path / 'mine', 'mevis', ABOUT)
    with pytest.raises(UserError, match='no result folder for refcoco'):
        AnswerFolder(tmp_path / 'out', 'refcoco', ABOUT)
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='cannot write'):
        AnswerFolder(tmp_path / 'file', 'mevis', ABOUT)

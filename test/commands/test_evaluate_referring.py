"""`vseg evaluate` on referring data sets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.commands.evaluate import evaluate
from vseg_ros.commands.evaluate_referring import evaluate_referring_command
from vseg_ros.datasets.coco_rle import encode_rle
from vseg_ros.errors import UserError
from vseg_ros.frame import MaskTrack


class RedQuery:
    """Answers with the red pixels if a sentence says red, else with nothing."""

    def __init__(self, settings):
        self.settings = settings

    def ask(self, frames, text):
        assert len(frames) <= self.settings.window.max_frames
        images = np.stack([frame.image for frame in frames])
        masks = (images[..., 0] > 128) & ('red' in text)
        return MaskTrack(masks, tuple(frame.stamp for frame in frames), masks.any(axis=(1, 2)),
                         1.0)

    def follow(self):
        raise ValueError('nothing to follow')


@pytest.fixture
def mevis(tmp_path):
    """Two splits of one video of five frames, a red box that walks; valid has no masks."""
    root = tmp_path / 'mevis'
    masks = np.zeros((5, 32, 64), bool)
    for frame in range(5):
        masks[frame, 8:24, 8 * frame:8 * frame + 16] = True
    for split in ('valid_u', 'valid'):
        folder = root / split / 'JPEGImages' / 'v1'
        folder.mkdir(parents=True)
        for frame, mask in enumerate(masks):
            image = np.zeros((32, 64, 3), np.uint8)
            image[mask] = 0, 0, 255
            cv2.imwrite(str(folder / f'{frame:05}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        (root / split / 'meta_expressions.json').write_text(json.dumps({'videos': {'v1': {
            'frames': [f'{frame:05}' for frame in range(5)], 'expressions': {
                '0': {'exp': 'the red box', 'obj_id': [0], 'anno_id': [0]},
                '1': {'exp': 'the cat', 'obj_id': [], 'anno_id': []}}}}}))
    (root / 'valid_u' / 'mask_dict.json').write_text(json.dumps(
        {'0': [encode_rle(mask) for mask in masks]}))
    return root


def test_scores_and_json(mevis, tmp_path, capsys):
    evaluate_referring_command(str(mevis), 'mevis', json=tmp_path / 'scores.json',
                               overrides=['window.max_frames=2'], create=RedQuery)
    told = json.loads((tmp_path / 'scores.json').read_text())
    assert (told['source'], told['clips'], told['expressions']) == (str(mevis), 1, 2)
    scores = told['pipelines']['virst']
    assert scores['j'] > 0.9
    assert scores['f'] == pytest.approx(1, abs=0.02)
    assert scores['jf'] == pytest.approx((scores['j'] + scores['f']) / 2)
    assert scores['no_match_empty'] == 1
    assert scores['fps'] > 0
    assert f'{100 * scores["jf"]:.2f}' in capsys.readouterr().out


def test_submission_for_a_split_without_masks(mevis, tmp_path, capsys):
    with pytest.raises(UserError, match=r'no masks of this split.*give --submission DIR'):
        evaluate_referring_command(str(mevis), 'mevis', split='valid', create=RedQuery)
    evaluate_referring_command(str(mevis), 'mevis', split='valid', submission=tmp_path / 'sub',
                               create=RedQuery)
    assert 'sub/submission.zip' in capsys.readouterr().out.replace('\n', '')
    with zipfile.ZipFile(tmp_path / 'sub' / 'submission.zip') as archive:
        assert archive.namelist() == [f'v1/{key}/{frame:05}.png' for key in (0, 1)
                                      for frame in range(5)]
    with pytest.raises(UserError, match='answers with another settings'):
        evaluate_referring_command(str(mevis), 'mevis', split='valid', create=RedQuery,
                                   submission=tmp_path / 'sub', overrides=['anchors.count=2'])


def test_the_command_line_leads_here(vseg, mevis):
    result = vseg('evaluate', str(mevis), '--format', 'mevis', '--pipelines', 'virst', '--split',
                  'valid')
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith('vseg: mevis publishes no masks of this split')
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(('options', 'line'), [
    ({}, "the pipeline 'iss' does not answer sentences: give --pipelines virst"),
    ({'pipelines': 'virst', 'stride': '2'}, '--stride does not apply to mevis'),
    ({'pipelines': 'virst', 'warmup_ratio': '25'}, '--warmup-ratio does not apply to mevis'),
    ({'pipelines': 'virst', 'split': 'val'}, "mevis has no split 'val'"),
    ({'pipelines': 'virst', 'param': ['tau=1']}, 'tau'),
    ({'format': 'images', 'submission': Path('x')}, '--submission applies to ref-youtube-vos')])
def test_mistakes_are_told(mevis, options, line):
    with pytest.raises(UserError, match=line):
        evaluate([str(mevis)], **({'format': 'mevis'} | options))


def test_images_have_no_submission(tmp_path, mevis):
    with pytest.raises(UserError, match='no refs'):
        evaluate_referring_command(str(mevis), 'refcoco', submission=tmp_path / 's',
                                   create=RedQuery)
    assert not (tmp_path / 's').exists()

"""The section of the questions in a report."""

from __future__ import annotations

import base64
import math
import re

import cv2
import numpy as np

from vseg_ros.evaluation.referring_scores import ExpressionScore
from vseg_ros.evaluation.report_questions import SHOWN, AnsweredQuestion, questions_section
from vseg_ros.frame import Frame, MaskTrack


def answered(text: str = 'the <red> car', no_match: bool = False) -> AnsweredQuestion:
    masks = np.zeros((6, 40, 60), bool)
    masks[:4, 10:30, 20:50] = not no_match
    frames = [Frame(np.full((40, 60, 3), 90, np.uint8), index * 400_000_000)
              for index in range(6)]
    track = MaskTrack(masks, tuple(frame.stamp for frame in frames), masks.any(axis=(1, 2)),
                      0.75, 'it is & was')
    return AnsweredQuestion(text, track, ExpressionScore(
        'street', '0', 'colour', 0.5, 0.7, math.nan, no_match, no_match), frames)


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'data:image/jpeg;base64,([^"]+)', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_COLOR)
            for each in found]


def test_everything_is_told_and_escaped():
    page = questions_section([answered()])
    assert 'the &lt;red&gt; car' in page
    assert 'it is &amp; was' in page
    assert '60.0 (J 50.0, F 70.0)' in page
    assert '<dd>0.75</dd>' in page
    assert '4 of 6 frames' in page
    assert 'something in the scene matches' in page
    assert 'nothing in the scene matches' in questions_section([answered(no_match=True)])


def test_frames_from_first_to_last_have_their_own_mask():
    page = questions_section([answered()])
    shown = pictures(page)
    assert len(shown) == SHOWN
    marked = [np.ptp(picture.reshape(-1, 3).astype(int), axis=0).max() > 40 for picture in shown]
    assert marked == [True, True, True, False]
    assert re.findall(r'<figcaption>(.*?)</figcaption>', page) == ['0.0 s', '0.8 s', '1.2 s',
                                                                  '2.0 s']


def test_without_questions_there_is_no_section():
    assert questions_section([]) == ''

"""The questions of a report: sentence, answer, scores, and frames with the mask drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vseg_ros.evaluation.pictures import data_uri
from vseg_ros.evaluation.referring_scores import ExpressionScore
from vseg_ros.evaluation.report_page import section
from vseg_ros.evaluation.samples import shrink_image
from vseg_ros.frame import Frame, MaskTrack
from vseg_ros.io.mask_overlay import draw_answer

SHOWN = 4
"""Frames of a window that are shown, evenly spaced from the first to the last."""


@dataclass(frozen=True, eq=False)
class AnsweredQuestion:
    """
    A sentence, and what came of it.

    Attributes:
        text: the sentence.
        track: the answer, a mask a frame.
        score: of the answer against the truth.
        frames: T frames that were asked about.

    """

    text: str
    track: MaskTrack
    score: ExpressionScore
    frames: Sequence[Frame]


def questions_section(answered: Sequence[AnsweredQuestion]) -> str:
    """Return the section of all questions, or nothing without any."""
    if not answered:
        return ''
    return section('Questions (VIRST)', 'A sentence each, about one window of the drive. Tinted: '
                   'the mask of the answer. J&amp;F compares it with the truth on every frame, '
                   'in %; where nothing matches, an empty mask is right.',
                   ''.join(map(_question, answered)))


def _question(answered: AnsweredQuestion) -> str:
    """Show one question."""
    track, score = answered.track, answered.score
    truth = 'nothing in the scene matches' if score.no_match else 'something in the scene matches'
    facts = (('Answer', escape(track.text or '(no words)')), ('Score', f'{track.score:.2f}'),
             ('Masks', f'{int(track.visible.sum())} of {len(track.visible)} frames'),
             ('Truth', truth),
             ('J&amp;F', f'{100 * score.jf:.1f} (J {100 * score.j:.1f}, F {100 * score.f:.1f})'))
    listed = ''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)
    return (f'<div class="frame"><h3>“{escape(answered.text)}”</h3><dl>{listed}</dl>'
            f'<div>{"".join(_figure(answered, index) for index in _shown(len(track.masks)))}'
            '</div></div>')


def _figure(answered: AnsweredQuestion, index: int) -> str:
    """Show a frame with the mask drawn in."""
    frame = answered.frames[index]
    drawn = shrink_image(draw_answer(frame.image, answered.track.masks[index], ''))
    seconds = (frame.stamp - answered.frames[0].stamp) / 1e9
    return (f'<figure><img src="{data_uri(drawn)}" alt="frame {index}">'
            f'<figcaption>{seconds:.1f} s</figcaption></figure>')


def _shown(frames: int) -> list[int]:
    """Choose the frames that are shown."""
    count = min(SHOWN, frames)
    return [round(place * (frames - 1) / max(count - 1, 1)) for place in range(count)]

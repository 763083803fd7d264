"""
An answered question drawn over its frame: the object tinted and outlined, the words above.

The words stand in a dark band: the question, and under it the answer. Long sentences wrap; what
does not fit into the upper half of the image is cut off with dots. OpenCV's built-in fonts know
ASCII alone, so accents are taken off and other scripts become question marks.
"""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, UInt8Array

OBJECT_COLOR = 255, 64, 160
"""RGB of tint and outline; no class of the driving palette has it."""

_OPACITY = 0.45
_BAND_BRIGHTNESS = 0.35
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _YELLOW = (255, 255, 255), (255, 220, 90)
_MARGIN = 6
_DOTS = '...'


def draw_answer(image: UInt8Array, mask: BoolArray, question: str,
                answer: str = '') -> UInt8Array:
    """
    Draw a mask and the sentence it answers over a frame.

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        mask: bool [H, W], the object; empty draws the words alone.
        question: the sentence.
        answer: what the model said; empty draws none.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: the mask is not of the image's size.

    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f'the mask is {list(mask.shape)}, the image {list(image.shape[:2])}')
    drawn = np.array(image, np.uint8, order='C')
    _draw_mask(drawn, np.ascontiguousarray(mask).view(np.uint8))
    _draw_words(drawn, [(question, _WHITE), (answer, _YELLOW)])
    return drawn


def _draw_mask(drawn: UInt8Array, mask: UInt8Array) -> None:
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return
    # All the rest of the image stays as it is, so only the box is worked on.
    box = slice(top, top + height), slice(left, left + width)
    tint = np.full_like(drawn[box], OBJECT_COLOR)
    mixed = cv2.addWeighted(drawn[box], 1 - _OPACITY, tint, _OPACITY, 0)
    drawn[box] = cv2.copyTo(mixed, mask[box], drawn[box].copy())
    outlines, _ = cv2.findContours(mask[box], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE,
                                   offset=(left, top))
    cv2.drawContours(drawn, outlines, -1, OBJECT_COLOR, max(1, drawn.shape[0] // 240))


def _draw_words(drawn: UInt8Array, sentences: list[tuple[str, tuple[int, int, int]]]) -> None:
    height, width = drawn.shape[:2]
    scale = min(1.2, max(0.35, width / 1200))
    thickness = max(1, round(2 * scale))
    (_, letter), descent = cv2.getTextSize('Ag', _FONT, scale, thickness)
    line_height = letter + descent + 2
    room = max(1, (height // 2 - _MARGIN) // line_height)
    lines = [(line, color) for sentence, color in sentences
             for line in wrap(sentence, width - 2 * _MARGIN, scale, thickness)]
    if not lines:
        return
    if len(lines) > room:
        line, color = lines[room - 1]
        lines[room - 1:] = [(_shortened(line, width - 2 * _MARGIN, scale, thickness), color)]
    band = drawn[:len(lines) * line_height + _MARGIN]
    cv2.convertScaleAbs(band, band, _BAND_BRIGHTNESS)
    for index, (line, color) in enumerate(lines):
        cv2.putText(drawn, line, (_MARGIN, _MARGIN // 2 + letter + index * line_height), _FONT,
                    scale, color, thickness, cv2.LINE_AA)


def wrap(sentence: str, width: int, scale: float, thickness: int) -> list[str]:
    """
    Break a sentence into lines that are at most `width` pixels wide.

    Args:
        sentence: any text; a word that is wider than a line is broken too.
        width: in pixels; a line holds one letter at least.
        scale: of the font.
        thickness: of its strokes, in pixels.

    Returns:
        the lines, of printable ASCII; none for a sentence without words.

    """
    lines: list[str] = []
    for word in _ascii(sentence).split():
        if lines and _fits(f'{lines[-1]} {word}', width, scale, thickness):
            lines[-1] += f' {word}'
            continue
        while len(word) > 1 and not _fits(word, width, scale, thickness):
            cut = next((length for length in range(len(word) - 1, 1, -1)
                        if _fits(word[:length], width, scale, thickness)), 1)
            lines.append(word[:cut])
            word = word[cut:]
        lines.append(word)
    return lines


def _fits(text: str, width: int, scale: float, thickness: int) -> bool:
    return bool(cv2.getTextSize(text, _FONT, scale, thickness)[0][0] <= width)


def _shortened(line: str, width: int, scale: float, thickness: int) -> str:
    while line and not _fits(line + _DOTS, width, scale, thickness):
        line = line[:-1]
    return line + _DOTS


def _ascii(text: str) -> str:
    plain = ''.join(each for each in unicodedata.normalize('NFKD', text)
                    if not unicodedata.combining(each))
    return ''.join(each if ' ' <= each <= '~' else ' ' if each.isspace() else '?'
                   for each in plain)

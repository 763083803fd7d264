"""What is drawn of an answer: inside the mask, on its outline, and the words."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.io.mask_overlay import OBJECT_COLOR, draw_answer, wrap

SIZE = 240, 320


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 200, (*SIZE, 3), np.uint8)


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[150:200, 100:180] = True
    return mask


def test_object_is_tinted_and_outlined_and_the_rest_untouched(
        image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    before = image.copy()
    drawn = draw_answer(image, mask, '')
    assert drawn.dtype == np.uint8
    assert np.array_equal(image, before)
    inside = cv2.erode(mask.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
    expected = image[inside] * 0.55 + np.array(OBJECT_COLOR) * 0.45
    assert np.abs(drawn[inside] - expected).max() <= 1
    around = cv2.dilate(mask.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
    assert np.array_equal(drawn[~around], image[~around])
    assert (drawn[150, 100:180] == OBJECT_COLOR).all()


def test_words_stand_in_a_dark_band_above(image: NDArray[np.uint8]) -> None:
    empty = np.zeros(SIZE, np.bool_)
    drawn = draw_answer(image, empty, 'the red car', 'It is there.')
    changed = np.flatnonzero((drawn != image).any((1, 2)))
    assert changed[0] == 0
    assert changed[-1] < SIZE[0] // 2
    assert drawn[:changed[-1] + 1].max() > 240
    assert np.median(drawn[:changed[-1] + 1]) < 80
    one = draw_answer(image, empty, 'the red car')
    assert np.flatnonzero((one != image).any((1, 2)))[-1] < changed[-1]
    assert np.array_equal(draw_answer(image, empty, ' \n'), image)


def test_long_sentence_wraps_and_never_hides_the_lower_half(image: NDArray[np.uint8]) -> None:
    empty = np.zeros(SIZE, np.bool_)
    drawn = draw_answer(image, empty, 'the car that will reach the crossing first ' * 40, 'yes')
    changed = np.flatnonzero((drawn != image).any((1, 2)))
    assert SIZE[0] // 3 < changed[-1] < SIZE[0] // 2


@pytest.mark.parametrize('sentence', ['the car that is behind the other one ' * 5, 'x' * 300,
                                      'a', 'short ' + 'y' * 90 + ' end'])
def test_lines_fit_and_hold_every_letter(sentence: str) -> None:
    lines = wrap(sentence, 200, 0.5, 1)
    assert all(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] <= 200
               for line in lines)
    assert ''.join(lines).replace(' ', '') == sentence.replace(' ', '')


def test_letters_that_the_font_lacks() -> None:
    assert wrap('café au lait', 500, 0.5, 1) == ['cafe au lait']
    assert wrap('白い車', 500, 0.5, 1) == ['???']
    assert wrap('a\tb', 500, 0.5, 1) == ['a b']


def test_tiny_images_and_one_pixel(image: NDArray[np.uint8]) -> None:
    for height, width in ((1, 1), (8, 5), (20, 400)):
        small = np.zeros((height, width, 3), np.uint8)
        drawn = draw_answer(small, np.ones((height, width), np.bool_), 'the white car', 'Yes.')
        assert drawn.shape == small.shape
    with pytest.raises(ValueError, match='the mask is'):
        draw_answer(image, np.zeros((3, 3), np.bool_), 'x')

"""Prompts (A2.1) against a literal search."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.ditta.prompts import Prompt, occupied, prompt_mask, sample_prompts
from vseg_ros.settings import PromptSettings

HEIGHT, WIDTH, CLASSES = 9, 12, 5
NOTHING = np.zeros((HEIGHT, WIDTH), bool)


def literal_prompts(labels: NDArray[np.uint8], sure: NDArray[np.float32],
                    taken: NDArray[np.bool_], first_id: int, room: int,
                    least: float) -> list[Prompt]:
    """Class by class: the peak pixel if it is sure enough and not taken."""
    peaks: dict[int, tuple[float, int, int]] = {}
    for y in range(HEIGHT):
        for x in range(WIDTH):
            label, value = int(labels[y, x]), float(sure[y, x])
            if label not in peaks or value > peaks[label][0]:
                peaks[label] = value, x, y
    prompts: list[Prompt] = []
    for label, (value, x, y) in sorted(peaks.items(), key=lambda entry: -entry[1][0]):
        if len(prompts) < room and value >= least and not taken[y, x]:
            prompts.append(Prompt(first_id + len(prompts), (x, y), label))
    return prompts


def random_frame(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return (random.integers(0, CLASSES, (HEIGHT, WIDTH), dtype=np.uint8),
            random.random((HEIGHT, WIDTH), dtype=np.float32))


@pytest.mark.parametrize('room', [0, 2, 100])
@pytest.mark.parametrize('seed', range(8))
def test_prompts_are_the_peaks_of_the_classes(seed: int, room: int) -> None:
    labels, sure = random_frame(seed)
    taken = np.random.default_rng(seed + 99).random((HEIGHT, WIDTH)) < 0.4
    settings = PromptSettings(min_reliability=0.95)
    assert (sample_prompts(labels, sure, taken, 7, room, settings)
            == literal_prompts(labels, sure, taken, 7, room, 0.95))


def test_most_reliable_class_comes_first() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 6:] = 3
    sure = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    sure[4, 2], sure[1, 8] = 0.9, 0.95
    assert sample_prompts(labels, sure, NOTHING, 1, 9, PromptSettings()) == [
        Prompt(1, (8, 1), 3), Prompt(2, (2, 4), 0)]


def test_threshold_is_inclusive() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    sure = np.full((HEIGHT, WIDTH), 0.75, np.float32)
    assert sample_prompts(labels, sure, NOTHING, 1, 9, PromptSettings(min_reliability=0.75))
    assert not sample_prompts(labels, sure, NOTHING, 1, 9, PromptSettings(min_reliability=0.76))


def test_only_the_peak_of_a_class_is_tried() -> None:
    """A class whose peak is tracked already waits, even if other pixels are free."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    sure = np.full((HEIGHT, WIDTH), 0.9, np.float32)
    sure[2, 2] = 1
    assert not sample_prompts(labels, sure, sure == 1, 1, 9, PromptSettings())


@pytest.mark.parametrize('margin', [0, 1, 3])
def test_tracked_masks_are_grown_by_a_diamond(margin: int) -> None:
    masks = {1: NOTHING.copy(), 5: NOTHING.copy()}
    masks[1][2, 3] = masks[5][8, 11] = True
    grown = occupied(masks, (HEIGHT, WIDTH), margin)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            near = min(abs(y - 2) + abs(x - 3), abs(y - 8) + abs(x - 11)) <= margin
            assert grown[y, x] == near


def test_nothing_is_occupied_without_masks() -> None:
    assert not occupied({}, (HEIGHT, WIDTH), 5).any()


def literal_component(region: NDArray[np.bool_], x: int, y: int) -> NDArray[np.bool_]:
    """Flood fill over all eight neighbours."""
    filled, edge = np.zeros_like(region), [(y, x)]
    while edge:
        row, column = edge.pop()
        if (0 <= row < HEIGHT and 0 <= column < WIDTH and region[row, column]
                and not filled[row, column]):
            filled[row, column] = True
            edge += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return filled


@pytest.mark.parametrize('seed', range(6))
def test_mask_prompt_is_the_component_that_holds_the_point(seed: int) -> None:
    labels, sure = random_frame(seed)
    labels = labels % 2
    for prompt in sample_prompts(labels, sure, NOTHING, 1, 9, PromptSettings()):
        region = (labels == prompt.label) & (sure >= 0.3)
        assert np.array_equal(prompt_mask(prompt, labels, sure, 0.3),
                              literal_component(region, *prompt.point))


def test_mask_prompt_holds_its_point_even_if_that_is_unreliable() -> None:
    labels, sure = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32)
    mask = prompt_mask(Prompt(1, (4, 2), 0), labels, sure, 0.8)
    assert np.argwhere(mask).tolist() == [[2, 4]]

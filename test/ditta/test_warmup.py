"""When the warm-up ends, what it keeps, and what it teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vseg_ros.ditta.propagation import PredictedFrame
from vseg_ros.ditta.warmup import Warmup, WarmupFrame, distillation_samples
from vseg_ros.models.flow_tracker import FlowTracker
from vseg_ros.settings import DittaSettings, WarmupSettings
from vseg_ros.settings_reading import settings_from_values

HEIGHT, WIDTH, CLASSES = 48, 64, 3
CPU = torch.device('cpu')


def some_frame(number: int = 0) -> WarmupFrame:
    """A frame that its features tell apart."""
    image = np.zeros((2, 2, 3), np.uint8)
    predicted = PredictedFrame(image, image[..., 0], np.zeros((2, 2), np.float32))
    return WarmupFrame(predicted, (torch.tensor([float(number)]),))


def kept_numbers(warmup: Warmup) -> list[int]:
    return [int(frame.features[0].item()) for frame in warmup.frames]


def test_ends_after_so_many_frames() -> None:
    warmup = Warmup(WarmupSettings(frames=4, seconds=100))
    shares = []
    for index in range(4):
        assert not warmup.complete
        warmup.add(some_frame(index), stamp=7)
        shares.append(warmup.progress)
    assert shares == [0.25, 0.5, 0.75, 1]
    assert warmup.complete


def test_ends_after_so_many_seconds_of_the_video() -> None:
    warmup = Warmup(WarmupSettings(seconds=0.5))
    start = 10**18
    for index in range(5):
        warmup.add(some_frame(), start + index * 100_000_000)
        assert warmup.progress == pytest.approx(0.2 * index)
        assert not warmup.complete
    warmup.add(some_frame(), start + 600_000_000)
    assert warmup.complete


def test_nothing_is_done_before_the_first_frame() -> None:
    assert Warmup(WarmupSettings()).progress == 0
    assert not Warmup(WarmupSettings(frames=1)).complete


def test_a_video_shorter_than_the_warmup_may_be_shown_again() -> None:
    """The stamps jump back, what was seen still counts."""
    warmup = Warmup(WarmupSettings(seconds=0.6))
    shares = []
    for _ in range(2):
        for index in range(4):
            assert not warmup.complete
            warmup.add(some_frame(), index * 100_000_000)
            shares.append(warmup.progress)
    assert shares == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert warmup.complete


@pytest.mark.parametrize('seen', [5, 6, 7, 11, 23, 100])
def test_memory_is_bounded_and_evenly_spread(seen: int) -> None:
    warmup = Warmup(WarmupSettings(frames=1000, max_frames=6))
    for index in range(seen):
        warmup.add(some_frame(index), index)
        assert len(warmup.frames) <= 6
    kept = kept_numbers(warmup)
    gaps = set(np.diff(kept).tolist())
    assert len(gaps) == 1
    assert kept[0] == 0
    assert seen - 1 - kept[-1] < gaps.pop()
    assert len(kept) >= 4
    assert warmup.progress == seen / 1000


def square_video(wrong: bool = True) -> list[WarmupFrame]:
    """A textured square (class 2) moves; on the last frame it is labelled 1 and is unreliable."""
    random = np.random.default_rng(0)
    background = random.integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    square = random.integers(120, 255, (20, 20, 3), dtype=np.uint8)
    frames = []
    for index in range(4):
        image, labels = background.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        sure = np.full((HEIGHT, WIDTH), 0.3, np.float32)
        place = slice(12, 32), slice(10 + 3 * index, 30 + 3 * index)
        image[place] = square
        last = index == 3 and wrong
        labels[place] = 1 if last else 2
        sure[place] = 0.2 if last else 0.95
        frames.append(WarmupFrame(PredictedFrame(image, labels, sure),
                                  (torch.full((1,), float(index)),)))
    return frames


def settings_with(**values: object) -> DittaSettings:
    return settings_from_values(DittaSettings, {
        name.replace('__', '.'): value for name, value in values.items()})


def test_a_tracked_mask_teaches_its_class_where_the_segmenter_errs() -> None:
    frames = square_video()
    samples = distillation_samples(frames, FlowTracker(), CLASSES,
                                   settings_with(adaptation__loss_stride=1), CPU)
    assert [int(sample.features[0].item()) for sample in samples] == [0, 1, 2, 3]
    for frame, sample in zip(frames, samples, strict=True):
        square = torch.from_numpy(frame.predicted.labels > 0)
        assert sample.label.dtype == sample.objects.dtype == torch.int64
        assert sample.label.shape == (HEIGHT, WIDTH)
        assert (sample.label[square] == 2).float().mean() > 0.9
        assert (sample.objects[square] == 1).float().mean() > 0.9
        assert (sample.label[~square] == 0).float().mean() > 0.95
        elsewhere = sample.objects == 0
        predicted = torch.from_numpy(frame.predicted.labels.astype(np.int64))
        assert torch.equal(sample.label[elsewhere], predicted[elsewhere])


def test_losses_see_every_nth_pixel_at_the_middle_of_its_block() -> None:
    dense, sparse = (
        distillation_samples(square_video(), FlowTracker(), CLASSES,
                             settings_with(adaptation__loss_stride=stride), CPU)
        for stride in (1, 4))
    for full, coarse in zip(dense, sparse, strict=True):
        assert torch.equal(coarse.label, full.label[2::4, 2::4])
        assert torch.equal(coarse.objects, full.objects[2::4, 2::4])


def test_without_an_object_there_is_nothing_to_learn() -> None:
    frames = square_video()
    settings = settings_with(prompts__min_reliability=1.0)
    assert distillation_samples(frames, FlowTracker(), CLASSES, settings, CPU) == []


def test_an_object_that_no_class_scores_for_keeps_the_prediction() -> None:
    """One class fills the whole video, so that its rarity is nought."""
    frames = []
    for frame in square_video(wrong=False):
        labels = np.full((HEIGHT, WIDTH), 2, np.uint8)
        frames.append(WarmupFrame(PredictedFrame(
            frame.predicted.image, labels, frame.predicted.reliability), frame.features))
    samples = distillation_samples(frames, FlowTracker(), CLASSES, settings_with(), CPU)
    assert all((sample.label == 2).all() for sample in samples)


def test_progress_is_that_of_the_tracker() -> None:
    shares: list[float] = []
    distillation_samples(square_video(), FlowTracker(), CLASSES, settings_with(), CPU,
                         shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1

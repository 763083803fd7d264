"""
VIRST: a first question about a window, others about the same, and following an answer.

The plainest correct version answers every question from the images: nothing that a question before
has left is used. That is what a first question about a window costs; it takes turns with a second
one, which finds the window's features and fusions kept. The window is two seconds at 15 Hz, every
frame new to the model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vseg_ros.datasets.street_queries import vocabulary
from vseg_ros.evaluation.bench.measure import interleave, median_of, memory_mib, times_faster
from vseg_ros.evaluation.bench.memory import SETTLED, STREAM_SIZE
from vseg_ros.evaluation.bench.scene import FPS, endless, street_frames
from vseg_ros.frame import Frame
from vseg_ros.settings import VirstSettings
from vseg_ros.virst.anchor_updater import AnchorUpdater, choose_anchors
from vseg_ros.virst.nano import NanoVirstSettings, new_nano_virst, write_nano_virst
from vseg_ros.virst.query import VirstQuery

RANDOM = 'random'
"""Stands for random weights of the default size; their answers are as long as answers can be."""
WINDOW = 2.0
"""Seconds that are asked about."""
QUESTIONS = ('the white car', 'the car on the left', 'the pedestrian', 'the red bus')
"""Asked about one window; their answers differ in length, and cost is a median over them."""


@contextmanager
def virst_file(name: str, seed: int) -> Iterator[str]:
    """Give the name of weights, writing random ones for the time being for `RANDOM`."""
    if name != RANDOM:
        yield name
        return
    torch.manual_seed(seed)
    settings = NanoVirstSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'random.safetensors'
        write_nano_virst(new_nano_virst(settings, vocabulary()), settings, path)
        yield str(path)


def compare_questions(weights: str, height: int, width: int, seed: int, rounds: int,
                      seconds: float = WINDOW) -> dict[str, float | None]:
    """
    Time questions about windows.

    Args:
        weights: name, path or `RANDOM`.
        height: of the frames.
        width: of the frames.
        seed: of the street and of random weights.
        rounds: windows; each gets a question of `QUESTIONS` first and the others after it.
        seconds: length of a window.

    Returns:
        `fps`, frames of the window a second of a first question, and its seconds,
        `question_seconds`; `first_mask_seconds`, until the first anchor has its mask;
        `second_question_seconds`; `second_question_speedup` with quartiles, first over second;
        `encoder_share` of a first question that SAM 2's image encoder takes; `window_frames`, and
        `encodings_a_frame`, how often a frame was encoded for all questions about its window;
        `peak_mib`.

    """
    with virst_file(weights, seed) as name:
        contest = _Contest(name, street_frames(seed, round(seconds * FPS), (height, width)))
    contest.first(0)
    times = interleave({'encoder': contest.encoder, 'mask': contest.first_mask,
                        'first': contest.first, 'second': contest.others}, rounds)
    first = median_of(times['first'])
    return {
        'window_frames': float(contest.length), 'fps': contest.length / first,
        'question_seconds': first, 'first_mask_seconds': median_of(times['mask']),
        'second_question_seconds': median_of(times['second']),
        **times_faster(times['first'], times['second']).flat('second_question_speedup'),
        'encoder_share': median_of(times['encoder']) / first,
        'encodings_a_frame': contest.encodings, 'peak_mib': memory_mib('VmHWM')}


def measure_following(weights: str, seed: int, frames: int) -> dict[str, float | None]:
    """
    Follow an answer through many small frames, in this process: a fresh one.

    Args:
        weights: name, path or `RANDOM`.
        seed: of the street and of random weights.
        frames: more than `SETTLED`.

    Returns:
        `follow_frames`; `follow_seconds`, the median time of a frame; `follow_worst_seconds`, of
        the 99th percentile, in which the sentence is asked again; MiB that the process had at
        most after `SETTLED` frames and at the end, `follow_mib_settled` and `follow_mib_end`,
        None on a system that does not say.

    """
    with virst_file(weights, seed) as name:
        query = VirstQuery(VirstSettings(weights=name, device='cpu'))
    window = round(WINDOW * FPS)
    stream = endless(street_frames(seed, window + 30, STREAM_SIZE), window + frames)
    query.ask(stream[:window], QUESTIONS[0])
    follower = query.follow()
    seconds, settled = [], None
    for index, frame in enumerate(stream[window:]):
        start = time.perf_counter()
        follower.step(frame)
        seconds.append(time.perf_counter() - start)
        if index == SETTLED:
            settled = memory_mib('VmHWM')
    ordered = sorted(seconds)
    return {'follow_frames': float(frames), 'follow_seconds': ordered[len(ordered) // 2],
            'follow_worst_seconds': ordered[len(ordered) * 99 // 100],
            'follow_mib_settled': settled, 'follow_mib_end': memory_mib('VmHWM')}


class _Contest:
    """One model and one window, which can be made new."""

    def __init__(self, weights: str, frames: list[Frame]) -> None:
        self._query = VirstQuery(VirstSettings(weights=weights, device='cpu'))
        self.length, self._frames = len(frames), frames
        self._before = 0
        self.encodings = 0.0

    def _renewed(self) -> list[Frame]:
        """Make the window one that the model has never seen."""
        self._frames = [Frame(frame.image, frame.stamp, frame.frame_id)
                        for frame in self._frames]
        self._before = self._query.encoder.encoded
        return self._frames

    def first(self, number: int) -> list[float]:
        """Ask for the first time about a window."""
        return [self._ask(self._renewed(), number)]

    def others(self, number: int) -> list[float]:
        """Ask the other questions about the window of `first`; count what was encoded."""
        seconds = [self._ask(self._frames, number + place)
                   for place in range(1, len(QUESTIONS))]
        encoded = self._query.encoder.encoded - self._before
        self.encodings = max(self.encodings, encoded / self.length)
        return seconds

    def _ask(self, frames: list[Frame], number: int) -> float:
        start = time.perf_counter()
        self._query.ask(frames, QUESTIONS[number % len(QUESTIONS)])
        return time.perf_counter() - start

    @torch.inference_mode()
    def encoder(self, _: int) -> list[float]:
        """Encode a window, and do nothing else."""
        frames = self._renewed()
        start = time.perf_counter()
        for frame in frames:
            self._query.encoder(frame)
        return [time.perf_counter() - start]

    @torch.inference_mode()
    def first_mask(self, number: int) -> list[float]:
        """Ask about a new window as `VirstQuery.ask` does, but stop at the first anchor."""
        frames, query = self._renewed(), self._query
        start = time.perf_counter()
        places = choose_anchors(len(frames), query.settings.window.sampled or query.model.frames)
        prompted = query.prompt([frames[place] for place in places],
                                QUESTIONS[number % len(QUESTIONS)])
        updater = AnchorUpdater(query.network, query.settings.anchors, query.model.several)
        found = updater.anchor(0, query.encoder(frames[0]).features, prompted.on(0))
        _ = found.logits.cpu()
        return [time.perf_counter() - start]

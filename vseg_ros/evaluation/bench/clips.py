"""
Time2General: its two modes, beside the frozen backbone alone and the plainest version.

The plainest correct version answers a frame from the last T by encoding all of them again, with
the model as it is written beside the paper. The backbone alone runs as it does inside: through
onnxruntime where that is how the pipeline runs, on the same images. Clips of several lengths
show that cost is linear in them.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vseg_ros.evaluation.bench.measure import interleave, median_of, times_faster
from vseg_ros.evaluation.bench.scene import FPS, endless, street_frames
from vseg_ros.frame import Frame
from vseg_ros.labels import DRIVING
from vseg_ros.models.labelling import score_pixels
from vseg_ros.models.onnx_graphs import export_graph, open_session
from vseg_ros.models.token_backbone import TokenBackbone
from vseg_ros.settings import Time2GeneralSettings
from vseg_ros.time2general.model import PixelFeatures
from vseg_ros.time2general.pipeline import Time2GeneralPipeline
from vseg_ros.time2general.runtime import TorchFrameRuntime, create_frame_runtime
from vseg_ros.time2general.saved import load_time2general, new_time2general, write_time2general
from vseg_ros.training_settings import Time2GeneralModelSettings

RANDOM = 'random'
"""Stands for random weights of the size of the bundled ones."""
SMALL = Time2GeneralModelSettings(
    backbone='driving-b0', blocks=(1, 2, 3, 4), queries=48, width=96, decoder_blocks=3, heads=4,
    points=2, feed_forward=256, clip_length=4, upsampling=0, standardize=True)
"""Architecture of the bundled weights."""
LENGTHS = (1, 2, 4, 8)
"""Clip lengths whose cost is compared."""


@contextmanager
def weights_file(name: str, seed: int, clip_length: int = 0) -> Iterator[str]:
    """
    Give the name of weights, writing random ones for the time being if that is what it says.

    Args:
        name: of weights, or `RANDOM`.
        seed: of random weights.
        clip_length: of random weights; 0 leaves that of the bundled ones.

    """
    if name != RANDOM:
        yield name
        return
    torch.manual_seed(seed)
    settings = SMALL.model_copy(update={'clip_length': clip_length or SMALL.clip_length})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'random.safetensors'
        write_time2general(new_time2general(settings, DRIVING), path)
        yield str(path)


def compare_modes(weights: str, height: int, width: int, seed: int, frames: int, rounds: int,
                  ) -> dict[str, float]:
    """
    Time both modes, the network and the backbone alone, and the plainest version, in turns.

    Args:
        weights: name, path or `RANDOM`.
        height: of the frames.
        width: of the frames.
        seed: of the street and of random weights.
        frames: that each is timed on in a round.
        rounds: turns of each.

    Returns:
        `fps` (sliding) and `clips_fps`, of whole pipelines; `latency_seconds` of a frame, and of
        the first of a clip at 15 frames a second, `clips_latency_seconds`; `network_fps`, without
        scoring the pixels, whose seconds are `scoring_seconds`; `backbone_fps`; with quartiles,
        `fps_over_backbone`, `network_over_backbone` and `speedup`, over the plainest version.

    """
    with weights_file(weights, seed) as name, torch.no_grad():
        contest = _Contest(name, street_frames(seed, frames, (height, width)))
        length = contest.length
        times = interleave({
            'backbone': lambda _: contest.backbone(), 'network': lambda _: contest.network(),
            'sliding': lambda number: contest.pipeline('sliding', number),
            'clips': lambda number: contest.pipeline('clips', number),
            'scoring': lambda _: contest.scoring(), 'plain': lambda _: contest.plainest()}, rounds)
    # a clip is answered with its last frame: the frames between cost their encoding alone
    clips = [[statistics.mean(values)] for values in times['clips']]
    closing = median_of([values[length - 1::length] for values in times['clips']])
    return {
        'fps': 1 / median_of(times['sliding']), 'clips_fps': 1 / median_of(clips),
        'latency_seconds': median_of(times['sliding']),
        'clips_latency_seconds': (length - 1) / FPS + closing,
        'clip_length': float(length),
        'network_fps': 1 / median_of(times['network']),
        'backbone_fps': 1 / median_of(times['backbone']),
        'scoring_seconds': median_of(times['scoring']),
        **times_faster(times['backbone'], times['sliding']).flat('fps_over_backbone'),
        **times_faster(times['backbone'], times['network']).flat('network_over_backbone'),
        **times_faster(times['plain'], times['sliding']).flat('speedup')}


class _Contest:
    """One model on some frames, whole and in parts."""

    def __init__(self, weights: str, frames: list[Frame]) -> None:
        self._model = load_time2general(weights)
        self.length = self._model.head.settings.clip_length
        self._clip: deque[PixelFeatures] = deque(maxlen=self.length)
        self._frames = frames
        self._images = [frame.image for frame in frames]
        self._reference = copy.deepcopy(self._model)
        self._runtime = create_frame_runtime(self._model, 'cpu', 'auto')
        alike = not isinstance(self._runtime, TorchFrameRuntime)
        self._run_backbone = backbone_alone(self._model.backbone, alike)
        self._pipelines = {mode: Time2GeneralPipeline(Time2GeneralSettings.model_validate(
            {'weights': weights, 'mode': mode, 'device': 'cpu', 'input_size': 0}))
            for mode in ('sliding', 'clips')}
        for run in (self.backbone, self.network, self.plainest):
            run(self._images[:2])

    def backbone(self, images: Sequence[NDArray[np.uint8]] | None = None) -> list[float]:
        """Run the frozen backbone."""
        return _seconds(self._run_backbone, self._images if images is None else images)

    def network(self, images: Sequence[NDArray[np.uint8]] | None = None) -> list[float]:
        """Run sliding mode up to the logits."""
        def step(image: NDArray[np.uint8]) -> None:
            pixels, fused = self._runtime.encode(image)
            self._clip.append(pixels)
            self._logits = self._runtime.decode(self._runtime.attend(self._clip), fused)

        return _seconds(step, self._images if images is None else images)

    def scoring(self) -> list[float]:
        """Turn logits into labels and reliability at the size of the frame."""
        size = self._frames[0].size
        return _seconds(lambda _: score_pixels(self._logits, size).reliability, self._images[:4])

    def plainest(self, images: Sequence[NDArray[np.uint8]] | None = None) -> list[float]:
        """Encode T frames again for every answer."""
        image = (self._images if images is None else images)[0]
        clip = torch.tensor(np.stack([image] * self.length))[None]

        def step(_: NDArray[np.uint8]) -> None:
            logits = self._reference(clip)[0, -1:]
            score_pixels(logits, (image.shape[0], image.shape[1]))

        return _seconds(step, [image])

    def pipeline(self, mode: str, number: int) -> list[float]:
        """Run a whole pipeline over as many frames as make whole clips."""
        running = self._pipelines[mode]
        count = max(len(self._frames) // self.length, 1) * self.length
        frames = endless(self._frames, count * (number + 1))[number * count:]
        seconds = []
        for frame in frames:
            start = time.perf_counter()
            running.step(frame)
            seconds.append(time.perf_counter() - start)
        return seconds


def backbone_alone(backbone: TokenBackbone, onnx: bool) -> Callable[[NDArray[np.uint8]], object]:
    """Return a function that runs a backbone on uint8 [H, W, 3], by onnxruntime or by torch."""
    if not onnx:
        return lambda image: backbone(torch.tensor(image)[None])
    height, width = torch.export.Dim('height', min=32), torch.export.Dim('width', min=32)
    example = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    program = export_graph(
        copy.deepcopy(backbone), (example,), inputs=['image'],
        outputs=[f'feature{index}' for index in range(len(backbone.widths))],
        dynamic_shapes=({1: height, 2: width},))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'backbone.onnx'
        program.save(str(path), external_data=False)
        session = open_session(path)
    return lambda image: session.run(None, {'image': np.ascontiguousarray(image)[None]})


def compare_lengths(height: int, width: int, seed: int, rounds: int) -> dict[str, object]:
    """
    Time clips of T frames, T in `LENGTHS`, with random weights.

    Args:
        height: of the frames.
        width: of the frames.
        seed: of the street and the weights.
        rounds: turns of each length.

    Returns:
        `clip_seconds`, T -> seconds of a whole clip; `clip_seconds_a_frame` and
        `clip_seconds_fixed`, slope and intercept of the line through them, and `clip_fit`, its
        R squared; and `sliding_seconds`, T -> seconds of a step with a full memory.

    """
    frames = street_frames(seed, max(LENGTHS), (height, width))
    with weights_file(RANDOM, seed, max(LENGTHS)) as name:
        running = {(mode, length): Time2GeneralPipeline(Time2GeneralSettings.model_validate(
            {'weights': name, 'mode': mode, 'device': 'cpu', 'input_size': 0,
             'clip_length': length})) for mode in ('clips', 'sliding') for length in LENGTHS}

    def turn(mode: str, length: int, number: int) -> list[float]:
        pipeline, seconds = running[mode, length], []
        for frame in endless(frames, (number + 1) * length)[number * length:]:
            start = time.perf_counter()
            pipeline.step(frame)
            seconds.append(time.perf_counter() - start)
        return [sum(seconds)] if mode == 'clips' else seconds[-2:]

    times = interleave({f'{mode} {length}': partial(turn, mode, length)
                        for mode, length in running}, rounds + 1)
    clips, sliding = ({length: median_of(times[f'{mode} {length}'][1:]) for length in LENGTHS}
                      for mode in ('clips', 'sliding'))
    return {'clip_seconds': {str(length): clips[length] for length in LENGTHS},
            'sliding_seconds': {str(length): sliding[length] for length in LENGTHS},
            **line_fit(list(clips), list(clips.values()))}


def line_fit(lengths: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """Fit seconds = slope T + fixed by least squares; see `compare_lengths`."""
    slope, fixed = np.polyfit(lengths, seconds, 1)
    residual = np.asarray(seconds) - (slope * np.asarray(lengths) + fixed)
    spread = np.asarray(seconds) - np.mean(seconds)
    return {'clip_seconds_a_frame': float(slope), 'clip_seconds_fixed': float(fixed),
            'clip_fit': float(1 - (residual ** 2).sum() / (spread ** 2).sum())}


def _seconds(run: Callable[[NDArray[np.uint8]], object], images: Sequence[NDArray[np.uint8]],
             ) -> list[float]:
    seconds = []
    for image in images:
        start = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - start)
    return seconds

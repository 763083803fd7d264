"""
The exported DiTTA against the pipeline it was exported from, on a CPU.

    python benchmarks/export.py [--threads N] [--size HxW] [--frames N] [--rounds N]

DiTTA adapts to the first frames of a synthetic street and is exported for its size. Both then
label the same frames in turns. The pipeline computes the add-on only where it is unsure, which a
graph without shapes that depend on the data cannot: on a CPU that is what the ratio shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vseg_ros.commands.bench_run import read_size
from vseg_ros.ditta.export import export_ditta, load_adapted_model
from vseg_ros.ditta.onnx_pipeline import ExportedDittaPipeline
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.frozen import ditta_settings
from vseg_ros.evaluation.bench.measure import interleave, median_of, times_faster
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.pipeline import SegmentationPipeline

WARMUP = 6


def exported_pipeline(adapted: DittaPipeline, size: tuple[int, int], folder: Path,
                      ) -> ExportedDittaPipeline:
    """Export what a pipeline learned and open the file."""
    learned, graph = folder / 'adapted.safetensors', folder / 'ditta.onnx'
    adapted.save(learned)
    export_ditta(*load_adapted_model(adapted.settings, learned), adapted.settings, graph, size)
    return ExportedDittaPipeline(
        adapted.settings.model_copy(update={'adapted_weights': str(graph)}))


def timed(pipeline: SegmentationPipeline, frames: list[Frame],
          seen: list[Segmentation]) -> list[float]:
    """Label frames; what comes out is added to `seen`."""
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        seen.extend(pipeline.step(frame))
        seconds.append(time.perf_counter() - start)
    return seconds


def compare(size: tuple[int, int], frames: int, rounds: int, seed: int) -> dict[str, float]:
    """Return frames a second of both, their ratio with quartiles, and how many labels agree."""
    video = street_frames(seed, WARMUP + rounds * frames, size)
    ditta = DittaPipeline(ditta_settings('driving-b0', seed, WARMUP))
    for frame in video[:WARMUP]:
        ditta.step(frame)
    with tempfile.TemporaryDirectory() as folder:
        exported = exported_pipeline(ditta, size, Path(folder))
    ours: list[Segmentation] = []
    theirs: list[Segmentation] = []

    def part(number: int) -> list[Frame]:
        first = WARMUP + number * frames
        return video[first:first + frames]

    times = interleave({'pipeline': lambda number: timed(ditta, part(number), theirs),
                        'exported': lambda number: timed(exported, part(number), ours)}, rounds)
    same = [float(np.mean(a.labels == b.labels)) for a, b in zip(ours, theirs, strict=True)]
    return {'pipeline_fps': 1 / median_of(times['pipeline']),
            'exported_fps': 1 / median_of(times['exported']),
            **times_faster(times['pipeline'], times['exported']).flat('exported_over_pipeline'),
            'equal_labels': float(np.mean(same)), 'equal_labels_lowest': min(same)}


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--threads', type=int, default=1, help='threads for both (default 1)')
    parser.add_argument('--size', default='352x480', help='of the images, multiples of 32')
    parser.add_argument('--frames', type=int, default=8, help='frames in a turn')
    parser.add_argument('--rounds', type=int, default=4, help='turns of each')
    parser.add_argument('--seed', type=int, default=0, help='of the street and of DiTTA')
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    try:
        numbers = compare(read_size(chosen.size), chosen.frames, chosen.rounds, chosen.seed)
    except UserError as error:
        sys.exit(str(error))
    print(json.dumps(numbers, indent=2))


if __name__ == '__main__':
    main()

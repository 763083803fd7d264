"""
The frozen stage of DiTTA beside the plain segmenter, frame for frame.

`compare_shipped` runs the two pipelines as a user has them: DiTTA watches a warm-up, adapts to it
and is then timed in turns with the plain segmenter, and with the released code's way of computing
a frame (`plainest.PlainFrozen`) with the same adapted weights.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.ditta.saved import load_adapted
from vseg_ros.evaluation.bench.measure import interleave, rates, times_faster
from vseg_ros.evaluation.bench.pipelines import step_seconds
from vseg_ros.evaluation.bench.plainest import PlainFrozen
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.evaluation.bench.weak_cells import cell_reliability, weak_share
from vseg_ros.frame import Frame
from vseg_ros.models.image_pipeline import ImageLabeller, ImagePipeline
from vseg_ros.models.runtime import SegmenterRuntime
from vseg_ros.settings import DittaSettings


def ditta_settings(segmenter: str, seed: int, warmup: int) -> DittaSettings:
    """Return the default settings on a CPU, with a warm-up of so many frames."""
    settings = DittaSettings(segmenter=segmenter, device='cpu', input_size=0, seed=seed)
    return settings.with_warmup_frames(warmup)


def compare_shipped(segmenter: str, height: int, width: int, seed: int, warmup: int, frames: int,
                    rounds: int) -> dict[str, float]:
    """
    Time both pipelines in turns.

    Args:
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and of DiTTA.
        warmup: frames that DiTTA adapts to first.
        frames: that each pipeline is timed on in a round.
        rounds: turns of each.

    Returns:
        `iss_fps` and `fps` of the pipelines, `network_fps` of the network alone, `fps_over_iss`,
        and `frozen_speedup` over the plain way of computing, all with their quartiles; and
        `weak_cells`, the share 0..1 of cells (4 x 4 pixels) that are unreliable.

    """
    video = street_frames(seed, warmup + rounds * frames, (height, width))
    settings = ditta_settings(segmenter, seed, warmup)
    plain, ditta = ImagePipeline(settings), DittaPipeline(settings)
    for frame in video[:warmup]:
        ditta.step(frame)
    labeller, model = _adapted(ditta, settings)
    released = PlainFrozen(labeller.segmenter, model, settings.fusion.tau)

    def part(number: int) -> list[Frame]:
        first = warmup + number * frames
        return video[first:first + frames]

    times = interleave({
        'iss': lambda number: step_seconds(plain, part(number)),
        'ditta': lambda number: step_seconds(ditta, part(number)),
        'network': lambda number: _infer_seconds(labeller.runtime, part(number)),
        'released': lambda number: _released_seconds(released, part(number)[:2])}, rounds)
    maps = [cell_reliability(labeller.runtime.infer(frame.image).logits)
            for frame in part(rounds - 1)]
    return {**rates(times['iss']).flat('iss_fps'), **rates(times['ditta']).flat('fps'),
            **rates(times['network']).flat('network_fps'),
            **times_faster(times['iss'], times['ditta']).flat('fps_over_iss'),
            **times_faster(times['released'], times['ditta']).flat('frozen_speedup'),
            'weak_cells': weak_share(maps, settings.fusion.tau)}


def _adapted(ditta: DittaPipeline, settings: DittaSettings) -> tuple[ImageLabeller, DittaModel]:
    """Return the segmenter, running with the decoder that was adapted, and what was learned."""
    labeller = ImageLabeller(settings)
    model = DittaModel(copy.deepcopy(labeller.segmenter.decoder), settings.fusion.radius)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'adapted.safetensors'
        ditta.save(path)
        load_adapted(model, path, settings.segmenter, labeller.label_set)
    labeller.runtime.set_decoder(model.decoder)
    return labeller, model.eval().requires_grad_(False)


def _released_seconds(released: PlainFrozen, frames: Sequence[Frame]) -> list[float]:
    """Time frame t; the one before goes through the networks again with it."""
    images = torch.stack([torch.tensor(frame.image) for frame in frames])
    start = time.perf_counter()
    released.step(images)
    return [time.perf_counter() - start]


def _infer_seconds(runtime: SegmenterRuntime, frames: Sequence[Frame]) -> list[float]:
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        runtime.infer(frame.image)
        seconds.append(time.perf_counter() - start)
    return seconds

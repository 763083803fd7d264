"""
The frozen stage of DiTTA beside the plain segmenter, frame for frame.

`compare_shipped` runs the two pipelines as a user has them: DiTTA watches a warm-up, adapts to it
and is then timed in turns with the plain segmenter, and with the released code's way of computing
a frame (`plainest.PlainFrozen`) with the same adapted weights.

`compare_random` asks the same of a large SegFormer with random weights. Those are unsure of nearly
every pixel, which no trained network is; and where DiTTA is unsure it computes the add-on. So tau
is lowered until the share of weak cells is that of the trained network on the same street. A large
network is run by eager torch on both sides, as exporting it takes longer than measuring it.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vseg_ros.ditta.frozen import FrozenFusion
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.ditta.saved import load_adapted
from vseg_ros.evaluation.bench.measure import interleave, rates, times_faster
from vseg_ros.evaluation.bench.pipelines import step_seconds
from vseg_ros.evaluation.bench.plainest import PlainFrozen
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import DRIVING
from vseg_ros.models.image_pipeline import ImageLabeller, ImagePipeline
from vseg_ros.models.labelling import score_pixels, to_segmentation
from vseg_ros.models.reliability import reliability
from vseg_ros.models.runtime import SegmenterRuntime, TorchRuntime, mixed_dtype
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import DittaSettings, FusionSettings


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
    maps = [_reliability(labeller.runtime, frame) for frame in part(rounds - 1)]
    return {**rates(times['iss']).flat('iss_fps'), **rates(times['ditta']).flat('fps'),
            **rates(times['network']).flat('network_fps'),
            **times_faster(times['iss'], times['ditta']).flat('fps_over_iss'),
            **times_faster(times['released'], times['ditta']).flat('frozen_speedup'),
            'weak_cells': weak_share(maps, settings.fusion.tau)}


def compare_random(variant: str, weak_cells: float, height: int, width: int, seed: int,
                   frames: int) -> dict[str, float]:
    """
    Time both ways of labelling with random weights, frame by frame in turns.

    Args:
        variant: MiT size, 'b0' to 'b5'.
        weak_cells: share of cells that are to be unreliable, 0..1.
        height: of the frames.
        width: of the frames.
        seed: of street and weights.
        frames: that each is timed on.

    Returns:
        as `compare_shipped`, without the pipelines' frames a second, and the `tau` found.

    """
    torch.manual_seed(seed)
    segmenter = new_segformer(DRIVING, variant).eval().requires_grad_(False)
    radius = DittaSettings().fusion.radius
    model = DittaModel(copy.deepcopy(segmenter.decoder), radius).eval().requires_grad_(False)
    runtime = TorchRuntime(segmenter, torch.device('cpu'))
    video = street_frames(seed, frames + 1, (height, width))
    first = _reliability(runtime, video[0])
    tau = float(first.flatten().kthvalue(max(1, round(weak_cells * first.numel()))).values)
    plain = _Labelling(segmenter, runtime)
    ditta = _Labelling(segmenter, runtime, FrozenFusion(
        model.addon.fold(mixed_dtype('auto', runtime.device)),
        FusionSettings(tau=tau, radius=radius)))
    ditta.step(video[0])
    times = interleave({'iss': lambda number: step_seconds(plain, [video[number + 1]]),
                        'ditta': lambda number: step_seconds(ditta, [video[number + 1]])},
                       frames)
    return {**times_faster(times['iss'], times['ditta']).flat('fps_over_iss'), 'tau': tau,
            'weak_cells': weak_share([_reliability(runtime, frame) for frame in video[1:3]], tau)}


def weak_share(maps: Sequence[torch.Tensor], tau: float) -> float:
    """
    Say how much of some frames is unreliable.

    Args:
        maps: reliability of each frame, float32 [h, w].
        tau: below it a cell is unreliable.

    Returns:
        share of cells, 0..1.

    """
    return float((torch.stack(list(maps)) < tau).float().mean())


class _Labelling:
    """What the pipelines do with a frame, as a pipeline, for a runtime that is given."""

    def __init__(self, segmenter: ImageSegmenter, runtime: SegmenterRuntime,
                 fusion: FrozenFusion | None = None) -> None:
        self.label_set = segmenter.label_set
        self.status = PipelineStatus(PipelineState.RUNNING)
        self._runtime = runtime
        self._fusion = fusion

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label one frame."""
        decoded = self._runtime.infer(frame.image)
        scored = (score_pixels(decoded.logits, frame.size) if self._fusion is None
                  else self._fusion.step(decoded, frame.size))
        return [to_segmentation(scored, scored.reliability, frame, self.label_set)]

    def finish(self) -> list[Segmentation]:
        """Nothing is held back."""
        return []


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


def _reliability(runtime: SegmenterRuntime, frame: Frame) -> torch.Tensor:
    return reliability(runtime.infer(frame.image).logits.log_softmax(1))[0]

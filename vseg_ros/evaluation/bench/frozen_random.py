"""
The frozen stage of DiTTA with a large SegFormer of random weights, frame by frame.

What a frame costs depends on the weights in one way only: at weak cells (less reliable than tau)
DiTTA computes the add-on, and all that such a cell may listen to needs a key. Random weights are
unsure of nearly every cell, which no trained network is. Two answers to that, both measured:

`fps_over_iss`: cells are weak where they are for the trained segmenter on the same frame. The
large network runs whole; then the logits of the trained one, computed before, take the place of
its own. Weak cells lie together then, along borders and far away, and share their keys.

`scattered_fps_over_iss`: its own logits, tau so low that as many cells are weak. They lie
anywhere, so that nearly every cell of the frame before needs a key. No trained network is as dear.

A large network is run by eager torch on both sides: exporting it takes longer than measuring it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch

from vseg_ros.ditta.frozen import Fusion, create_fusion
from vseg_ros.ditta.model import DittaModel
from vseg_ros.evaluation.bench.measure import interleave, times_faster
from vseg_ros.evaluation.bench.pipelines import step_seconds
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.evaluation.bench.weak_cells import cell_reliability, tau_for_share, weak_share
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import DRIVING
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import score_pixels, to_segmentation
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.segmenter import Decoded, ImageSegmenter
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import DittaSettings, FusionSettings

Infer = Callable[[Frame], Decoded]


def compare_random(variant: str, segmenter: str, weak_cells: float, height: int, width: int,
                   seed: int, frames: int) -> dict[str, float]:
    """
    Time DiTTA and the plain segmenter in turns, both with random weights.

    Args:
        variant: MiT size, 'b0' to 'b5'.
        segmenter: name or path of the trained one.
        weak_cells: share of cells that are to be weak, 0..1.
        height: of the frames.
        width: of the frames.
        seed: of street and weights.
        frames: that each is timed on.

    Returns:
        `fps_over_iss` with its quartiles, and `weak_cells`, the share there was; both again,
        with `scattered_` before, for the network's own logits.

    """
    torch.manual_seed(seed)
    network = new_segformer(DRIVING, variant).eval().requires_grad_(False)
    runtime = TorchRuntime(network, torch.device('cpu'))
    trained = ImageLabeller(DittaSettings(segmenter=segmenter, device='cpu')).runtime
    video = street_frames(seed, frames + 1, (height, width))
    learned = {frame.stamp: trained.infer(frame.image).logits.clone() for frame in video}

    def infer(frame: Frame) -> Decoded:
        return runtime.infer(frame.image)

    def infer_as_trained(frame: Frame) -> Decoded:
        return infer(frame)._replace(logits=learned[frame.stamp])

    together = _compare(network, infer_as_trained, video, weak_cells)
    scattered = _compare(network, infer, video, weak_cells)
    return together | {f'scattered_{key}': value for key, value in scattered.items()}


def _compare(network: ImageSegmenter, infer: Infer, video: Sequence[Frame], share: float,
             ) -> dict[str, float]:
    """Time both on all frames but the first, which says what tau is."""
    tau = tau_for_share(cell_reliability(infer(video[0]).logits), share)
    model = DittaModel(copy.deepcopy(network.decoder), FusionSettings().radius)
    addon = model.eval().requires_grad_(False).addon
    fusion = create_fusion(addon, FusionSettings(tau=tau), 'auto', torch.device('cpu'))
    plain = _Labelling(network, infer)
    ditta = _Labelling(network, infer, fusion)
    ditta.step(video[0])
    times = interleave({'iss': lambda number: step_seconds(plain, [video[number + 1]]),
                        'ditta': lambda number: step_seconds(ditta, [video[number + 1]])},
                       len(video) - 1)
    weak = weak_share([cell_reliability(infer(frame).logits) for frame in video[1:3]], tau)
    return {**times_faster(times['iss'], times['ditta']).flat('fps_over_iss'),
            'weak_cells': weak}


class _Labelling:
    """What the pipelines do with a frame, as a pipeline, for a network that is given."""

    def __init__(self, network: ImageSegmenter, infer: Infer,
                 fusion: Fusion | None = None) -> None:
        self.label_set = network.label_set
        self.status = PipelineStatus(PipelineState.RUNNING)
        self._infer = infer
        self._fusion = fusion

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label one frame."""
        decoded = self._infer(frame)
        scored = (score_pixels(decoded.logits, frame.size) if self._fusion is None
                  else self._fusion.step(decoded, frame.size))
        return [to_segmentation(scored, scored.reliability, frame, self.label_set)]

    def finish(self) -> list[Segmentation]:
        """Nothing is held back."""
        return []

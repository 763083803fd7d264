"""
One adaptation step of DiTTA against the released code's way of computing the same.

Both sides start from one model and learn from the same frames, labels and objects. Timed are the
steps of frames that have a predecessor, with the paper's hard labels. What is common to both (the
plain segmenter's labels, the tracker, the class vote) is left out; so is the backbone's single run
over the warm-up on our side, whose features are those that the segmenter computed for its labels.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch

from vseg_ros.ditta.adaptation import WarmupSample, adapt
from vseg_ros.ditta.distillation import rarity_weights
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.propagation import PredictedFrame
from vseg_ros.ditta.warmup import WarmupFrame, distillation_samples
from vseg_ros.ditta.window_attention import window_attention
from vseg_ros.evaluation.bench.measure import (
    interleave,
    median_of,
    memory_mib,
    times_faster,
)
from vseg_ros.evaluation.bench.plainest import Computation, PlainAdaptation, decode_unfused
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import score_pixels
from vseg_ros.models.runtime import mixed_dtype
from vseg_ros.models.segmenter import Decoded, Features
from vseg_ros.models.tracker import create_tracker
from vseg_ros.settings import DittaSettings

_FRAMES = 2  # a first one, and one with a predecessor

BREAKDOWN = {
    'plain': 'everything the plain way',
    'window': '+ attention in windows',
    'features': '+ backbone features computed once',
    'fused': '+ decode head fused before upsampling',
    'same_losses': 'our loop, losses at every pixel',
    'ours': 'our loop, losses at stride 4',
}
"""The contestants, from the plainest to ours, each with what it adds."""


class AdaptationContest:
    """
    A few frames of warm-up and every way to learn from them.

    Args:
        settings: of the segmenter and the method.
        size: height and width of the frames.

    """

    def __init__(self, settings: DittaSettings, size: tuple[int, int]) -> None:
        self.settings = settings.model_copy(update={
            'adaptation': settings.adaptation.model_copy(update={'soft_labels': 0.0})})
        labeller = ImageLabeller(settings)
        self.segmenter = labeller.segmenter
        self.images = [labeller.prepare(frame) for frame in
                       street_frames(settings.seed, _FRAMES, size)]
        self._warmup = [self._watch(labeller, number) for number in range(_FRAMES)]
        self._samples: dict[int, list[WarmupSample]] = {}
        torch.manual_seed(settings.seed)
        self.model = DittaModel(self.segmenter.decoder, settings.fusion.radius)

    def _watch(self, labeller: ImageLabeller, number: int) -> WarmupFrame:
        image = self.images[number]
        decoded, features = labeller.runtime.infer_with_features(image)
        scored = score_pixels(decoded.logits, (image.shape[0], image.shape[1]))
        predicted = PredictedFrame(image, scored.labels.numpy(), scored.reliability.numpy())
        return WarmupFrame(predicted, features)

    def samples(self, stride: int) -> list[WarmupSample]:
        """Track and vote, with losses at every `stride`-th pixel."""
        if stride not in self._samples:
            adaptation = self.settings.adaptation.model_copy(update={'loss_stride': stride})
            self._samples[stride] = distillation_samples(
                self._warmup, create_tracker('flow', 'cpu'), len(self.segmenter.label_set),
                self.settings.model_copy(update={'adaptation': adaptation}),
                torch.device('cpu'))
        return self._samples[stride]

    def ours(self, stride: int) -> list[float]:
        """Run our loop once over the frames; return the seconds of the later ones."""
        marks: list[float] = []
        once = self.settings.adaptation.model_copy(update={'passes': 1})
        samples = self.samples(stride)
        adapt(copy.deepcopy(self.model), samples, once, self.segmenter.label_set.ignore_id,
              lambda _: marks.append(time.perf_counter()), class_weights=self._weights(samples),
              mixed=mixed_dtype(once.precision, torch.device('cpu')))
        return [later - earlier for earlier, later in pairwise(marks)]

    def _weights(self, samples: Sequence[WarmupSample]) -> torch.Tensor:
        return rarity_weights([sample.label for sample in samples],
                              len(self.segmenter.label_set), self.settings.adaptation.rarity)

    def plain(self, how: Computation, encode: Callable[[Sequence[int]], Features]) -> list[float]:
        """Run the plain loop once over the frames; return the seconds of the later ones."""
        loop = PlainAdaptation(copy.deepcopy(self.model), encode, self.settings.adaptation,
                               self.segmenter.label_set.ignore_id, how,
                               self._weights(self.samples(1)))
        seconds = []
        for number, sample in enumerate(self.samples(1)):
            start = time.perf_counter()
            loop.step(number, sample.label, sample.objects)
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    @torch.no_grad()
    def encode_again(self, wanted: Sequence[int]) -> Features:
        """Run the backbone on frames."""
        images = torch.stack([torch.tensor(self.images[number]) for number in wanted])
        return self.segmenter.encode(images)

    def look_up(self, wanted: Sequence[int]) -> Features:
        """Return the features that the warm-up kept."""
        kept = [self._warmup[number].features for number in wanted]
        return tuple(torch.cat(level) for level in zip(*kept, strict=True))

    def run(self, name: str) -> list[float]:
        """Let one of `BREAKDOWN` take its turn."""
        if name in ('ours', 'same_losses'):
            return self.ours(1 if name == 'same_losses'
                             else self.settings.adaptation.loss_stride)
        windows = Computation(decode_unfused, window_attention)
        fused = Computation(_decode_fused, window_attention)
        how = {'plain': Computation(), 'window': windows, 'features': windows, 'fused': fused}
        again = name in ('plain', 'window')
        return self.plain(how[name], self.encode_again if again else self.look_up)


def _decode_fused(decoder: torch.nn.Module, features: Features) -> Decoded:
    decoded: Decoded = decoder(features)
    return decoded


def _turn(contest: AdaptationContest, name: str, _: int) -> list[float]:
    return contest.run(name)


def time_steps(segmenter: str, height: int, width: int, seed: int, rounds: int,
               ) -> dict[str, object]:
    """
    Time the steps of every contestant of `BREAKDOWN`.

    Args:
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and the new weights.
        rounds: turns of the plainest and of ours; those between have one.

    Returns:
        `adaptation_speedup` and its quartiles; `adaptation_speedup_same_losses`;
        `adaptation_step_seconds`, name -> median seconds; `adaptation_objects`, the number of
        tracked objects.

    """
    settings = DittaSettings(segmenter=segmenter, device='cpu', input_size=0, seed=seed)
    contest = AdaptationContest(settings, (height, width))
    turns = {name: partial(_turn, contest, name) for name in BREAKDOWN}
    contest.run('ours')
    main = ('plain', 'same_losses', 'ours')
    measured = interleave({name: turns[name] for name in main}, rounds)
    between = interleave({name: turns[name] for name in BREAKDOWN if name not in main}, 1)
    seconds = {name: median_of((measured | between)[name]) for name in BREAKDOWN}
    objects = {int(i) for sample in contest.samples(1) for i in torch.unique(sample.objects) if i}
    return {
        **times_faster(measured['plain'], measured['ours']).flat('adaptation_speedup'),
        **times_faster(measured['plain'], measured['same_losses']).flat(
            'adaptation_speedup_same_losses'),
        'adaptation_step_seconds': seconds, 'adaptation_objects': len(objects)}


def peak_of_steps(segmenter: str, height: int, width: int, seed: int, name: str,
                  ) -> float | None:
    """
    Let one contestant take a turn in this process, which should be a fresh one.

    Args:
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and the new weights.
        name: 'plain' or 'ours'.

    Returns:
        MiB at the peak beyond networks and frames, or None on a system that does not say.

    """
    settings = DittaSettings(segmenter=segmenter, device='cpu', input_size=0, seed=seed)
    contest = AdaptationContest(settings, (height, width))
    contest.samples(1)
    contest.samples(settings.adaptation.loss_stride)
    before = memory_mib('VmRSS')
    contest.run(name)
    peak = memory_mib('VmHWM')
    return None if before is None or peak is None else max(peak - before, 1.0)

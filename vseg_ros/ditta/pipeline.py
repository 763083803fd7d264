"""
DiTTA as a streaming pipeline (`ditta`): WARMING_UP, ADAPTING, FROZEN.

WARMING_UP  publishes the plain segmenter's labels and collects frames.
ADAPTING    the tracker follows objects through the warm-up and the decoder and add-on learn from
            it: in line, within the step that ends the warm-up, or in a thread of its own while
            plain labels keep flowing.
FROZEN      the tracker is gone; every frame is fused with the one before.

The adapted weights are swapped in at a frame boundary. Whatever goes wrong in an adaptation
leaves the plain model running, FROZEN, and `status.message` says why.
"""

from __future__ import annotations

import atexit
import copy
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch

from vseg_ros.ditta.adaptation import AdaptationCancelledError, AdaptationResult, adapt
from vseg_ros.ditta.distillation import rarity_weights
from vseg_ros.ditta.frozen import Fusion, create_fusion
from vseg_ros.ditta.initial_weights import load_initial
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.propagation import PredictedFrame
from vseg_ros.ditta.saved import load_adapted, save_adapted
from vseg_ros.ditta.warmup import Warmup, WarmupFrame, distillation_samples
from vseg_ros.errors import UserError
from vseg_ros.failure import is_foreseen, one_line
from vseg_ros.frame import Frame, Segmentation, follows
from vseg_ros.freed_memory import give_back_freed_memory
from vseg_ros.labels import LabelSet
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import score_pixels
from vseg_ros.models.runtime import mixed_dtype
from vseg_ros.models.tracker import MaskTracker, create_tracker
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import DittaSettings

logger = logging.getLogger(__name__)

_MEMORY_ADVICE = ('lower input_size, prompts.max_objects or warmup.max_frames, or take a smaller '
                  'segmenter or tracker')

TRACKING_SHARE = 0.5
"""Share of the progress of ADAPTING that tracking is shown as."""


class DittaPipeline:
    """
    A video segmenter made from an image segmenter on the spot.

    Args:
        settings: of the segmenter, the tracker and the method.

    Raises:
        UserError: segmenter, tracker, device or adapted weights are not there.

    Attributes:
        history: losses of every step of the last adaptation.

    """

    def __init__(self, settings: DittaSettings) -> None:
        self.settings = settings
        self.history: list[dict[str, float]] = []
        self._labeller = ImageLabeller(settings, settings.adaptation.classes == 'source')
        self._own_classes = self._labeller.segmenter.label_set
        self._plain_decoder = copy.deepcopy(self._labeller.segmenter.decoder)
        self._tracker: MaskTracker | None = None
        self._fusion: Fusion | None = None
        self._model: DittaModel | None = None
        self._worker: _Adaptation | None = None
        self._warmup = Warmup(settings.warmup)
        self._status = PipelineStatus(PipelineState.WARMING_UP, 0.0)
        self._last_stamp = 0
        if settings.adapted_weights:
            model = self._new_model()
            load_adapted(model, Path(settings.adapted_weights).expanduser(), settings.segmenter,
                         self._own_classes)
            self._freeze(model)
            self._status = PipelineStatus(PipelineState.FROZEN, 1.0)
        else:
            self._open_tracker()

    @property
    def label_set(self) -> LabelSet:
        """The classes of the answers."""
        return self._labeller.label_set

    @property
    def status(self) -> PipelineStatus:
        """State, progress and, if something went wrong, what."""
        worker = self._worker
        if worker is not None:
            return PipelineStatus(PipelineState.ADAPTING, worker.progress)
        return self._status

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label the frame; every frame gets its segmentation at once."""
        self._take_if_done()
        if self._fusion is not None and not follows(frame.stamp, self._last_stamp,
                                                    self.settings.fusion.max_gap):
            self._fusion.forget()
        self._last_stamp = frame.stamp
        image = self._labeller.prepare(frame)
        size = (image.shape[0], image.shape[1])
        if self._status.state is PipelineState.WARMING_UP:
            return [self._watch(frame, image, size)]
        decoded = self._labeller.runtime.infer(image)
        scored = (score_pixels(decoded.logits, size) if self._fusion is None
                  else self._fusion.step(decoded, size))
        return [self._labeller.answer(scored, frame)]

    def finish(self) -> list[Segmentation]:
        """End the stream; an adaptation still under way is abandoned."""
        if self._status.state is PipelineState.WARMING_UP:
            self._status = PipelineStatus(
                PipelineState.WARMING_UP, self._warmup.progress,
                'the video ended within the warm-up: nothing was adapted; shorten it with '
                '-p warmup.frames=N')
        self._take_if_done()
        self._stop_worker()
        return []

    def adapt(self) -> None:
        """
        Drop what was learned and warm up again; may be called at any time.

        Raises:
            UserError: the tracker cannot be loaded again; what was learned is kept then.

        """
        self._stop_worker()
        self._open_tracker()
        self._forget_learned()
        self._warmup = Warmup(self.settings.warmup)
        self._status = PipelineStatus(PipelineState.WARMING_UP, 0.0)

    def save(self, path: Path) -> None:
        """
        Write what was learned.

        Raises:
            UserError: nothing was learned yet, or the file cannot be written.

        """
        if self._model is None:
            raise UserError('nothing was adapted yet: save after the warm-up')
        save_adapted(self._model, path, self.settings.segmenter, self._own_classes,
                     self._plain_decoder)

    def _new_model(self) -> DittaModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            model = DittaModel(copy.deepcopy(self._plain_decoder), self.settings.fusion.radius)
        load_initial(model, self.settings.segmenter)
        return model.to(self._labeller.runtime.device)

    def _open_tracker(self) -> None:
        if self._tracker is None:
            device = str(self._labeller.runtime.device)
            self._tracker = create_tracker(self.settings.tracker, device,
                                           self.settings.precision)

    def _watch(self, frame: Frame, image: np.ndarray, size: tuple[int, int]) -> Segmentation:
        """Label one warm-up frame plainly, keep it, and adapt once there are enough."""
        decoded, features = self._labeller.runtime.infer_with_features(image)
        scored = score_pixels(decoded.logits, size)
        sure = scored.reliability
        predicted = PredictedFrame(image, scored.labels.cpu().numpy(), sure.cpu().numpy())
        if self._warmup.frames and self._warmup.frames[0].predicted.labels.shape != size:
            logger.warning('the image size changed within the warm-up: it starts again')
            self._warmup = Warmup(self.settings.warmup)
        self._warmup.add(WarmupFrame(predicted, features), frame.stamp)
        self._status = PipelineStatus(PipelineState.WARMING_UP, self._warmup.progress,
                                      self._warmup.complaint)
        if self._warmup.complete:
            self._start_adaptation()
        return self._labeller.answer(scored, frame)

    def _start_adaptation(self) -> None:
        assert self._tracker is not None
        worker = _Adaptation(self._new_model, self._warmup, self._tracker, self.settings,
                             self._own_classes)
        self._tracker = None
        self._warmup = Warmup(self.settings.warmup)
        self._status = PipelineStatus(PipelineState.ADAPTING, 0.0)
        self._worker = worker
        if self.settings.adaptation.background:
            worker.start()
        else:
            worker.run()
            self._take(worker)

    def _take_if_done(self) -> None:
        if self._worker is not None and self._worker.done:
            self._take(self._worker)

    def _take(self, worker: _Adaptation) -> None:
        """Swap in what an adaptation came to."""
        self._worker = None
        if worker.result is None:
            self._status = PipelineStatus(PipelineState.FROZEN, 1.0, worker.message)
            logger.warning(worker.message)
            return
        self.history = worker.result.history
        message = worker.message
        try:
            self._freeze(worker.result.model)
        except Exception as error:
            self._forget_learned()
            message = _failure(error)
        self._status = PipelineStatus(PipelineState.FROZEN, 1.0, message)
        if message:
            logger.warning(message)

    def _freeze(self, model: DittaModel) -> None:
        self._model = model.eval().requires_grad_(False)
        self._labeller.runtime.set_decoder(model.decoder)
        self._fusion = create_fusion(model.addon, self.settings.fusion, self.settings.precision,
                                     self._labeller.runtime.device)

    def _forget_learned(self) -> None:
        """Let the plain segmenter run."""
        self._labeller.runtime.set_decoder(self._plain_decoder)
        self._fusion = None
        self._model = None

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
            self._status = PipelineStatus(PipelineState.FROZEN, 1.0,
                                          'the adaptation was stopped before its end')


def _failure(error: Exception) -> str:
    """Say that an adaptation came to nothing; called where the error is handled."""
    if not is_foreseen(error):
        logger.exception('the adaptation failed')
    return (f'the adaptation failed: {one_line(error, _MEMORY_ADVICE)}; the plain segmenter runs '
            'on')


class _Adaptation(threading.Thread):
    """Tracking and learning over one warm-up; `result` is None if it came to nothing."""

    def __init__(self, new_model: Callable[[], DittaModel], warmup: Warmup,
                 tracker: MaskTracker, settings: DittaSettings, label_set: LabelSet) -> None:
        super().__init__(name='ditta-adaptation', daemon=True)
        self.progress = 0.0
        self.result: AdaptationResult | None = None
        self.message = ''
        self.done = False
        self._new_model = new_model
        self._warmup = warmup
        self._tracker = tracker
        self._settings = settings
        self._label_set = label_set
        self._cancelled = threading.Event()

    def start(self) -> None:
        """Run beside the stream, until the process ends at the latest."""
        _started.add(self)
        super().start()

    def run(self) -> None:
        """Track, vote, learn; whatever happens, tracker, frames and memory are released."""
        try:
            self._adapt()
        except AdaptationCancelledError:
            self.message = 'the adaptation was stopped before its end'
        except Exception as error:
            self.message = _failure(error)
        finally:
            try:
                self._tracker.release()
                self._warmup = Warmup(self._settings.warmup)
                give_back_freed_memory()
            finally:
                self.done = True

    def cancel(self) -> None:
        """Stop as soon as possible and wait for it."""
        self._cancelled.set()
        if self.is_alive():
            self.join()

    def _adapt(self) -> None:
        # Made here, so that memory that does not suffice for it costs the adaptation alone.
        model = self._new_model()
        device = next(model.parameters()).device
        samples = distillation_samples(
            self._warmup.frames, self._tracker, len(self._label_set), self._settings, device,
            self._show_tracking)
        if not samples:
            self.message = ('no pixel of the warm-up was reliable enough to track an object: '
                            'the plain segmenter runs on')
            return
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self._settings.seed)
            weights = rarity_weights([sample.label for sample in samples],
                                     len(self._label_set), self._settings.adaptation.rarity)
            self.result = adapt(model, samples, self._settings.adaptation,
                                self._label_set.ignore_id, self._show_learning,
                                self._cancelled.is_set, weights,
                                temporal=self._settings.fusion.tau > 0,
                                mixed=mixed_dtype(self._settings.adaptation.precision, device))
        if self.result.rolled_back:
            self.message = ('the adaptation met numbers that are not finite: the weights of the '
                            'last good pass are used; lower adaptation.learning_rate')

    def _show_tracking(self, share: float) -> None:
        if self._cancelled.is_set():
            raise AdaptationCancelledError
        self.progress = TRACKING_SHARE * share

    def _show_learning(self, share: float) -> None:
        self.progress = TRACKING_SHARE + (1 - TRACKING_SHARE) * share


_started: WeakSet[_Adaptation] = WeakSet()


@atexit.register
def _stop_started() -> None:
    # a thread that the interpreter ends within a product takes the process with it (SIGABRT)
    for adaptation in list(_started):
        adaptation.cancel()

"""
VIRST in use: a sentence about a window of frames, and following what it named.

What SAM 2's image encoder makes of a frame is computed once and kept, however many questions are
asked about it; so is what both fusions make of a sampled set of frames. A follower goes on with
the memories of the answer, and every few seconds asks the sentence again about the frames seen
since, which gives a new anchor: what was lost behind a bus is found again.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, MaskTrack
from vseg_ros.frame_window import FrameWindow
from vseg_ros.models.runtime import mixed_dtype, select_device
from vseg_ros.models.sam2_images import frame_masks, model_image
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.settings import VirstSettings
from vseg_ros.video_query import check_question, check_window
from vseg_ros.virst.anchor_updater import AnchorPrompt, AnchorUpdater, choose_anchors
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.loading import load_virst
from vseg_ros.virst.model import FusedClips, Prompted, Virst
from vseg_ros.virst.nano_language_model import NanoLanguageModel
from vseg_ros.words import NO_MATCH

MOST_DOUBT = 0.5
"""Where nothing matches more likely than this, masks are empty."""
LOOK_WEIGHT, EXPECTED_LOOK = 0.5, 6.5
"""How a small model's doubt is weighed with its look: a logit of its likeliest cell above or below
the expected one counts against the doubt, or for it, by so much of a logit."""
SUREST = 1e-6
"""What is said is never held for surer than this."""
SPARE_FRAMES = 8
"""Frames of which features are kept beside those of a whole window: new ones, while following."""
KEPT_FUSIONS = 4
"""Sets of sampled frames of which the fusions' tokens are kept."""


class EncodedFrame(NamedTuple):
    """
    A frame as SAM 2's image encoder sees it.

    Attributes:
        frame: kept, so that nothing else can take its identity.
        features: of the feature pyramid.
        maps: of the backbone, if the language model sees through them.

    """

    frame: Frame
    features: ImageFeatures
    maps: tuple[Tensor, ...]


class FrameEncoder:
    """
    Encodes frames, each once.

    Args:
        network: SAM 2.
        kept: most frames whose features are kept.
        maps: whether the backbone's maps are kept too.

    Attributes:
        encoded: number of frames that were encoded.

    """

    def __init__(self, network: Sam2Network, kept: int, maps: bool) -> None:
        self._network, self._kept, self._needs_maps = network, kept, maps
        self._frames: OrderedDict[int, EncodedFrame] = OrderedDict()
        self.encoded = 0

    def __call__(self, frame: Frame) -> EncodedFrame:
        """Return what the encoder makes of a frame."""
        key = id(frame)
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        network = self._network
        maps = network.encode_backbone(
            model_image(frame.image, network.side, network.device, network.dtype))
        encoded = EncodedFrame(frame, network.encode_maps(maps),
                               maps if self._needs_maps else ())
        self.encoded += 1
        self._frames[key] = encoded
        if len(self._frames) > self._kept:
            self._frames.popitem(last=False)
        return encoded

    def prefer(self, frames: Sequence[Frame]) -> None:
        """Forget others before these, as far as they are still there."""
        for frame in frames:
            if id(frame) in self._frames:
                self._frames.move_to_end(id(frame))


class VirstQuery:
    """
    Answers sentences; see `VideoQuery`.

    Args:
        settings: which weights, where, and how much is seen at once.
        model: loaded already; None loads what the settings name.

    Raises:
        UserError: weights or device are not there, or do not fit into the memory; or the settings
            ask for more memories than the model has.

    """

    def __init__(self, settings: VirstSettings, model: Virst | None = None) -> None:
        device = select_device(settings.device)
        self.settings = settings
        self.model = model or load_virst(settings.weights, device, settings.precision,
                                         settings.four_bit)
        self.network = self.model.network(mixed_dtype(settings.precision, device))
        if settings.anchors.memory > self.network.spatial_memories:
            raise UserError(f"anchors.memory is {settings.anchors.memory}, but the model's SAM 2 "
                            f'has {self.network.spatial_memories} slots: choose at most that many')
        self.encoder = FrameEncoder(self.network, settings.window.max_frames + SPARE_FRAMES,
                                    isinstance(self.model.language, NanoLanguageModel))
        self._fused: OrderedDict[tuple[int, ...], tuple[list[Frame], FusedClips]] = OrderedDict()
        self._last: Answered | None = None

    @torch.inference_mode()
    def ask(self, frames: Sequence[Frame], text: str) -> MaskTrack:
        """Find what a sentence names; see `VideoQuery.ask`."""
        text = check_question(text)
        check_window(frames)
        sampled = choose_anchors(len(frames), self.settings.window.sampled or self.model.frames)
        prompted = self.prompt([frames[index] for index in sampled], text)
        doubt = doubt_of(prompted)
        updater = AnchorUpdater(self.network, self.settings.anchors, self.model.several)
        present = doubt <= MOST_DOUBT
        answer = self.answer(prompted, text, present)
        self._last = Answered(text, list(frames), updater, present, answer)
        if not present:
            return nothing_on(frames, answer, 1 - doubt)
        places = choose_anchors(len(sampled), self.settings.anchors.count or self.model.anchors)
        anchors = {sampled[place]: prompted.on(place) for place in places}
        found = updater.run(range(len(frames)),
                            lambda index: self.encoder(frames[index]).features, anchors)
        return track_of(frames, found, answer, sorted(anchors))

    def follow(self) -> VirstFollower:
        """Go on from the last answer; see `VideoQuery.follow`."""
        if self._last is None:
            raise ValueError('nothing to follow: ask a question first')
        return VirstFollower(self, self._last)

    def prompt(self, sampled: Sequence[Frame], text: str) -> Prompted:
        """Let the language model look at sampled frames; their fusion tokens are kept."""
        key = tuple(id(frame) for frame in sampled)
        if key not in self._fused:
            encoded = [self.encoder(frame) for frame in sampled]
            clip = LanguageClip([frame.image for frame in sampled],
                                torch.stack([_map(each.features) for each in encoded]),
                                tuple(torch.cat(level) for level in
                                      zip(*(each.maps for each in encoded), strict=True)))
            self._fused[key] = (list(sampled), self.model.fuse_clips([clip]))
            if len(self._fused) > KEPT_FUSIONS:
                self._fused.popitem(last=False)
        return self.model.ask(self._fused[key][1], [text])

    def answer(self, prompted: Prompted, text: str, present: bool) -> str:
        """
        Put the answer to a question in words, which the language model makes one by one.

        Args:
            prompted: what came of the question.
            text: the question.
            present: whether anything matches it; where nothing does, no words are made.

        """
        return self._words(prompted, text) if present else NO_MATCH + self._unknown(text)

    def _words(self, prompted: Prompted, text: str) -> str:
        return self.model.language.answer(prompted.inputs)[0] + self._unknown(text)

    def _unknown(self, text: str) -> str:
        """Name the words of a question that the language model has never met."""
        if not isinstance(self.model.language, NanoLanguageModel):
            return ''
        unknown = dict.fromkeys(self.model.language.unknown_words(text))
        return f' (words it does not know: {", ".join(unknown)})' if unknown else ''


def doubt_of(prompted: Prompted) -> float:
    """Return how likely nothing matches one question, 0..1; 0 if the model does not say."""
    if prompted.doubts is None:
        return 0.0
    look = float(prompted.grounding[-1].amax()) if prompted.grounding else EXPECTED_LOOK
    return weigh_doubt(float(prompted.doubts[0]), look)


def weigh_doubt(doubt: float, look: float) -> float:
    """
    Weigh what a model says, that nothing matches, with how surely it looks at something.

    Args:
        doubt: how likely nothing matches by its words, 0..1.
        look: logit of the cell that it looks at most.

    Returns:
        how likely nothing matches, 0..1.

    """
    said = min(max(doubt, SUREST), 1 - SUREST)
    logit = math.log(said / (1 - said)) - LOOK_WEIGHT * (look - EXPECTED_LOOK)
    return 1 / (1 + math.exp(-logit))


class Answered(NamedTuple):
    """
    An answered question.

    Attributes:
        text: the question.
        frames: the window.
        updater: with the memories of the answer.
        present: whether anything matched.
        answer: what was said.

    """

    text: str
    frames: list[Frame]
    updater: AnchorUpdater
    present: bool
    answer: str


class VirstFollower:
    """Goes on with an answer; see `Follower`. Several of one answer do not disturb each other."""

    def __init__(self, query: VirstQuery, answered: Answered) -> None:
        self._query, self._text = query, answered.text
        self._updater = answered.updater.copy()
        self._present, self._answer = answered.present, answered.answer
        self._window = FrameWindow(query.settings.window)
        for frame in answered.frames:
            self._window.append(frame)
        self._newest = answered.frames[-1]
        self._index = len(answered.frames) - 1
        self._anchored = self._newest.stamp

    @property
    def text(self) -> str:
        """The question."""
        return self._text

    @torch.inference_mode()
    def step(self, frame: Frame) -> MaskTrack:
        """Find the object in the next frame; see `Follower.step`."""
        if frame.stamp <= self._newest.stamp:
            raise ValueError(f'a frame of {frame.stamp} ns after one of {self._newest.stamp} ns: '
                             'frames must be newer than those before')
        if frame.size != self._newest.size:
            raise ValueError(f'a frame of {frame.size} after frames of {self._newest.size}')
        self._window.append(frame)
        # a window that is thinned out reaches further back than the frames last encoded
        self._query.encoder.prefer(self._window.select())
        self._newest = frame
        self._index += 1
        features = self._query.encoder(frame).features
        prompt = None
        pause = self._query.settings.follow.reanchor
        if pause and frame.stamp - self._anchored >= pause * 1e9:
            prompt = self._prompt()
            self._anchored = frame.stamp
        if not self._present:
            return nothing_on([frame], self._answer, 0.0)
        found = (self._updater.propagate(self._index, features) if prompt is None else
                 self._updater.anchor(self._index, features, prompt))
        self._updater.forget(self._index)
        return track_of([frame], [found], self._answer, [0])

    def _prompt(self) -> AnchorPrompt | None:
        """Ask again about the window; returns the prompts of the newest frame if any matches."""
        frames = self._window.select()
        count = self._query.settings.window.sampled or self._query.model.frames
        sampled = [frames[index] for index in choose_anchors(len(frames), max(count, 2))]
        prompted = self._query.prompt(sampled, self.text)
        present = doubt_of(prompted) <= MOST_DOUBT
        # Words are dear: those that were said hold until the object comes or goes.
        if present != self._present:
            self._present, self._answer = present, self._query.answer(prompted, self.text, present)
        return prompted.on(len(sampled) - 1) if present else None


def nothing_on(frames: Sequence[Frame], text: str, score: float) -> MaskTrack:
    """Make a track of empty masks."""
    return MaskTrack(np.zeros((len(frames), *frames[0].size), dtype=np.bool_),
                     tuple(frame.stamp for frame in frames),
                     np.zeros(len(frames), dtype=np.bool_), score, text)


def track_of(frames: Sequence[Frame], found: Sequence[Segmented], text: str,
             anchors: Sequence[int]) -> MaskTrack:
    """
    Make a track of what was found on T frames of one size.

    Its score is the mean over the anchors of the probability that the object is visible, times
    the IoU that the model expects of the mask.
    """
    masks = np.stack(frame_masks([each.logits[0, 0] for each in found], frames[0].size))
    chosen = [found[index] for index in anchors]
    score = float(np.mean([float(each.scores[0, 0].float().sigmoid() *
                                 each.qualities[0].float().clamp(0, 1)) for each in chosen]))
    visible = np.asarray(masks.any(axis=(1, 2)))
    return MaskTrack(masks, tuple(frame.stamp for frame in frames), visible, score, text)


def _map(features: ImageFeatures) -> Tensor:
    """Lay the stride 16 features of a frame out as [C, h, w]."""
    side = features.medium.shape[-1] // 2
    return features.tokens[:, 0].T.reshape(-1, side, side).float()

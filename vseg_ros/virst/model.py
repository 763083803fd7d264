"""
VIRST as one network: SAM 2, a video-language model, and the two fusions of STF between them.

    features  = SAM 2's image encoder on T sampled frames                        S_seg
    E_ST      = embeddings of the [SEG] tokens + gate * CrossAttn(E_ST, S_down)  first fusion
    F'_ST     = hidden states of the language model at these tokens
    F~_ST     = CrossAttn(F'_ST, S'_down), one prompt a frame                    second fusion
    masks     = TDAU: the mask decoder on anchors, memory attention elsewhere

Several questions about one clip share everything up to the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam2VideoModel

from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.virst.anchor_updater import AnchorPrompt
from vseg_ros.virst.frame_prompts import FramePrompter, ProjectedPrompts
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.language_model import LanguageClip, LanguageInputs, VideoLanguageModel
from vseg_ros.virst.things import Sameness, single_thing


@dataclass(frozen=True, eq=False)
class FusedClips:
    """
    What of C clips does not depend on the question; kept between questions.

    Attributes:
        clips: the sampled frames as the language model takes them.
        features: float [C, T, D, h, w], S_seg.
        initial: S_down, grid tokens of the first fusion.
        refined: S'_down, grid tokens of the second fusion; None without one.

    """

    clips: Sequence[LanguageClip]
    features: Tensor
    initial: Tensor
    refined: Tensor | None


@dataclass(frozen=True, eq=False)
class Prompted:
    """
    What B questions ask of SAM 2.

    Attributes:
        prompts: F~_ST, float [B, N, T, D], a prompt a frame and [SEG] token.
        token_loss: of the answers, a scalar; 0 without answers.
        inputs: the language model's, for its words.
        grounding: logits [B, T, g, g] of where the language model sees what is asked for, and of
            where it and the second fusion do; empty where they do not say.
        coarse: [B, T, g, g], 0..1, the latter, or what of it lies on one thing, for SAM 2's mask
            prompt; None in the released model, which gives none.
        sameness: which cells of the clips show the same thing; None if nobody says.
        doubts: float [B], 0..1, how likely nothing matches; None if nobody says.

    """

    prompts: Tensor
    token_loss: Tensor
    inputs: LanguageInputs
    grounding: tuple[Tensor, ...] = ()
    coarse: Tensor | None = None
    sameness: Sameness | None = None
    doubts: Tensor | None = None

    def on(self, frame: int) -> AnchorPrompt:
        """Return what is asked of SAM 2 on a frame."""
        return AnchorPrompt(self.prompts[:, :, frame],
                            None if self.coarse is None else self.coarse[:, frame])


class Virst(nn.Module):
    """
    The network.

    Args:
        sam: SAM 2.
        language: the video-language model.
        initial: first fusion.
        prompter: second fusion, or the ablation without it.
        several: whether the best of three mask candidates counts when it is used, as in the
            released model.
        frames: T, sampled frames it was trained with.
        coarse: whether what the second fusion sees is given to SAM 2 as a mask prompt too. A
            mask decoder that was trained for an hour needs it; the released one does without.
        anchors: alpha, how many of the sampled frames are anchors unless a setting says
            otherwise.

    """

    def __init__(self, sam: Sam2VideoModel, language: VideoLanguageModel, initial: InitialFusion,
                 prompter: FramePrompter | ProjectedPrompts, several: bool = True,
                 frames: int = 8, coarse: bool = False, anchors: int = 3) -> None:
        super().__init__()
        self.sam: Any = sam
        self.language, self.initial, self.prompter = language, initial, prompter
        self.several, self.frames, self.coarse, self.anchors = several, frames, coarse, anchors

    def network(self, attention: torch.dtype | None = None) -> Sam2Network:
        """Return SAM 2's steps; `attention` is as `Sam2Network` takes it."""
        return Sam2Network(self.sam, attention)

    def fuse_clips(self, clips: Sequence[LanguageClip]) -> FusedClips:
        """Compute what of C clips of T frames does not depend on the question."""
        features = torch.stack([clip.features for clip in clips])
        refined = None
        if isinstance(self.prompter, FramePrompter):
            refined = self.prompter.tokens(features, self._places())
        return FusedClips(clips, features, self.initial.grid(features), refined)

    def ask(self, fused: FusedClips, questions: Sequence[str],
            answers: Sequence[str] | None = None) -> Prompted:
        """
        Turn questions into prompts.

        Args:
            fused: of C clips.
            questions: B sentences; B / C in a row are about the same clip.
            answers: what should be answered, in training.

        """
        times = len(questions) // len(fused.clips)
        clips = [clip for clip in fused.clips for _ in range(times)]
        inputs = self.language.prepare(clips, questions, answers)
        initial = fused.initial.repeat_interleave(times, 0)
        inputs = inputs.with_prompts(self.initial.fuse(inputs.prompt_embeddings(), initial))
        outputs = self.language(inputs)
        if fused.refined is None:
            features = fused.features.repeat_interleave(times, 0)
            return Prompted(self.prompter(outputs.prompts, features), outputs.token_loss, inputs,
                            doubts=outputs.doubts)
        assert isinstance(self.prompter, FramePrompter)
        prompts = self.prompter.refine(outputs.prompts, fused.refined)
        if outputs.grounding is None:
            return Prompted(prompts, outputs.token_loss, inputs, doubts=outputs.doubts)
        # the second fusion corrects, frame by frame, where the language model looks
        heat = _alike(prompts, fused.refined)
        heat = heat + F.interpolate(outputs.grounding, heat.shape[-2:], mode='bilinear',
                                    align_corners=False)
        return Prompted(prompts, outputs.token_loss, inputs, (outputs.grounding, heat),
                        self._coarse(heat, outputs.sameness), outputs.sameness, outputs.doubts)

    def _coarse(self, heat: Tensor, sameness: Sameness | None) -> Tensor | None:
        """Make SAM 2's mask prompt of where the second fusion looks."""
        if not self.coarse:
            return None
        if sameness is None:
            return heat.sigmoid()
        frames = heat.shape[1]
        side = round((sameness.asking.shape[1] / frames) ** 0.5)
        return single_thing(F.adaptive_avg_pool2d(heat, (side, side)), sameness)

    def _places(self) -> Tensor | None:
        """Return SAM 2's encoding of places, [C, h, w], if the second fusion wants it."""
        if not self.prompter.positions:
            return None
        places: Tensor = self.sam.get_image_wide_positional_embeddings()[0]
        return places


def _alike(prompts: Tensor, tokens: Tensor) -> Tensor:
    """Compare prompts [B, N, T, D] with the cells of their frame, [C, T, G G, D]: [B, T, G, G]."""
    asked = prompts.mean(1).view(len(tokens), -1, *prompts.shape[2:])
    heat: Tensor = torch.einsum('cktd,ctgd->cktg', asked, tokens) / prompts.shape[-1] ** 0.5
    side = round(heat.shape[-1] ** 0.5)
    laid_out: Tensor = heat.reshape(len(prompts), prompts.shape[2], side, side)
    return laid_out

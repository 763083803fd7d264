"""
Every setting of every pipeline: name, default, range, unit and meaning, defined once.

A pipeline's settings are a pydantic model. Groups are nested models, so the dotted names
(`warmup.frames`) are the same in a ROS 2 parameter file, as ROS parameters and after `-p` on the
command line; `settings_reading.py` reads them from there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

Precision = Literal['auto', 'float32', 'bfloat16', 'float16']


class Settings(BaseModel):
    """Base of all settings: unknown names are errors, values cannot be changed in place."""

    model_config = ConfigDict(extra='forbid', frozen=True, validate_default=True,
                              allow_inf_nan=False)


class ComputeSettings(Settings):
    """Where and how to compute."""

    device: str = Field(
        'auto', description='Where to compute: auto, cpu, cuda or cuda:N.')
    precision: Precision = Field(
        'auto', description='Number format of the networks; auto is float32 on a CPU and '
        'bfloat16 on a GPU.')


class PipelineSettings(ComputeSettings):
    """What every pipeline has."""

    input_size: int = Field(
        360, ge=0, le=4096, description='Shorter side of the image given to the networks, in '
        'pixels; larger frames are scaled down to it, 0 never scales.')
    seed: int = Field(0, ge=0, le=2**31 - 1, description='Seed of everything random.')

    @property
    def model_name(self) -> str:
        """What is loaded, for messages."""
        raise NotImplementedError

    def with_warmup_frames(self, frames: int, keep_all: bool = False) -> Self:
        """
        Return the settings with a warm-up of so many frames, itself where nothing warms up.

        Args:
            frames: frames to watch before the pipeline adapts.
            keep_all: learn from all of them, however many.

        """
        return self


class SegmenterSettings(PipelineSettings):
    """The plain image segmenter, frame by frame (pipeline `iss`)."""

    segmenter: str = Field(
        'driving-b0', description='Image segmenter: a bundled name, a hub id such as '
        'nvidia/segformer-b5-finetuned-cityscapes-1024-1024, or a folder.')
    classes: str = Field(
        '', description="Classes to speak, if not the segmenter's own: a class map such as "
        'cityscapes-driving, ade20k-driving, vspw-driving, vspw-cityscapes or ade20k-vspw; of the '
        'classes that mean one, the largest logit counts.')
    compile: bool = Field(
        False, description='Compile the networks of the segmenter with torch.compile, for a GPU: '
        'the first frame of a size then takes up to minutes, those after it less than else.')

    @property
    def model_name(self) -> str:
        """The segmenter."""
        return self.segmenter


class WarmupLength(Settings):
    """How long a pipeline watches before it is frozen; the first that is set counts."""

    frames: int = Field(
        0, ge=0, le=10000, description='Frames to watch; 0 leaves it to warmup.seconds.')
    seconds: float = Field(
        1.0, ge=0, le=3600, description="Seconds to watch, in s, by the frames' stamps; 0 "
        'leaves it to warmup.ratio.')
    ratio: float = Field(
        0.0, ge=0, le=1, description='Share of the bag to watch, 0..1; offline only, where it '
        'goes before frames and seconds.')


class WarmupSettings(WarmupLength):
    """How long DiTTA watches before it adapts, and what it keeps of it."""

    max_frames: int = Field(
        16, ge=2, le=10000, description='Most frames to learn from; a longer warm-up keeps evenly '
        'spaced ones. Time and memory of the adaptation grow with it.')


class FusionSettings(Settings):
    """The temporal add-on and its fusion with the plain branch (Sec. 3.1)."""

    tau: float = Field(
        0.6, ge=0, le=1, description='Reliability below which a pixel also listens to the '
        'frame before (Eq. 3); 0.8 in the paper; 0 turns the add-on off.')
    radius: int = Field(
        5, ge=1, le=16, description='Radius of the attention window, in cells of 4 pixels.')
    memory: Literal['fused', 'plain'] = Field(
        'fused', description='What the frame before hands on: its fused logits, so that older '
        'frames are still heard, or those of its plain branch, as in the paper.')
    max_gap: float = Field(
        2.0, gt=0, le=3600, description='Pause between two frames, in s by their stamps, after '
        'which the frame before is forgotten.')


class PromptSettings(Settings):
    """Which objects the tracker is asked to follow (supplement A2.1)."""

    max_objects: int = Field(100, ge=1, le=1000, description='Most objects in one warm-up.')
    min_reliability: float = Field(
        0.8, ge=0, le=1, description='Least reliability of a pixel that may be a prompt.')
    margin: int = Field(
        5, ge=0, le=100, description='No prompt this close to a tracked mask, in pixels.')


class VoteSettings(Settings):
    """How a tracked mask gets its class (Eq. 4)."""

    lambda_area: float = Field(
        0.3, ge=0, le=10, description='Weight of the share of the mask that shows the class.')
    lambda_freq: float = Field(
        0.8, ge=0, le=10, description="Weight of the class's rarity in the whole warm-up.")


class AdaptationSettings(Settings):
    """Test-time adaptation of decoder and add-on (Sec. 3.2, 3.3)."""

    learning_rate: float = Field(1e-3, gt=0, le=1, description='Learning rate of AdamW.')
    passes: int = Field(5, ge=1, le=100, description='Passes over the warm-up frames.')
    decoder_steps: int = Field(
        80, ge=0, le=100000, description='Steps that the decoder takes at the whole learning '
        'rate; if there are more, its rate is lower in proportion, so that a long warm-up leads '
        'it no farther from its training; 0 is one rate for all, as in the paper.')
    averaged_share: float = Field(
        0.2, ge=0, le=1, description='Share of the steps, at the end, whose weights are averaged: '
        '0.2 is the last of five passes; 0 takes the weights of the last step as chance left '
        'them, as in the paper.')
    distillation: float = Field(
        1.0, ge=0, le=100, description='Weight of the distillation losses (Eq. 8); 0 turns them '
        'off.')
    contrastive: float = Field(
        0.3, ge=0, le=100, description='Weight of the contrastive loss (Eq. 8); 1 in the paper; 0 '
        'turns it off.')
    targets: Literal['tracks', 'segmenter'] = Field(
        'tracks', description="Labels of the distillation: the tracker's masks over the "
        "segmenter's labels, or the segmenter's alone, as in the paper's ablation.")
    classes: Literal['target', 'source'] = Field(
        'target', description="With a class map, whether votes, distillation and fusion are in "
        "its target classes or in the segmenter's own, which are then grouped after fusion.")
    momentum: float = Field(
        0.99, ge=0, lt=1, description='What the momentum encoder keeps of itself a step.')
    temperature: float = Field(
        1.0, gt=0, le=100, description='Temperature of the contrastive alignment (Eq. 7).')
    loss: Literal['logits', 'released'] = Field(
        'logits', description='Distillation loss: cross entropy of the logits, or as in the '
        'released code, which takes the log-softmax of probabilities.')
    soft_labels: float = Field(
        0.9, ge=0, le=1, description="Where the teacher agrees with the segmenter, how much the "
        "segmenter's own distribution counts as the label; the rest is the class alone, which is "
        'the whole label in the paper (0).')
    rarity: float = Field(
        0.0, ge=0, le=1, description='How much more rare classes count in the distillation loss: '
        'weight = frequency in the warm-up to the power of minus this; 0 counts all pixels alike, '
        'as the paper does.')
    loss_stride: int = Field(
        4, ge=1, le=4, description='Losses at every n-th pixel of the segmenter input.')
    batch_norm: Literal['batch', 'frozen'] = Field(
        'frozen', description='Statistics of batch normalisation while adapting: of the frames '
        'at hand, which also renews the running ones, or the running ones as trained.')
    precision: Literal['auto', 'float32', 'bfloat16'] = Field(
        'auto', description='Number format in which networks multiply while they learn; auto is '
        'bfloat16 on a GPU and on a CPU that multiplies it natively, which takes half the time, '
        'else float32.')
    background: bool = Field(
        False, description='Adapt in a second thread while frames keep flowing (the default of '
        'the node); off, the frame that ends the warm-up waits for it (that of replay).')


class DittaSettings(SegmenterSettings):
    """DiTTA: steady labels for this scene after a short warm-up (pipeline `ditta`)."""

    tracker: str = Field(
        'flow', description='Mask tracker that teaches: flow (no weights needed), '
        'sam2.1-hiera-tiny, -small, -base-plus, -large, edgetam, a hub id or a folder.')
    warmup: WarmupSettings = WarmupSettings()
    fusion: FusionSettings = FusionSettings()
    prompts: PromptSettings = PromptSettings()
    vote: VoteSettings = VoteSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    adapted_weights: str = Field(
        '', description='File of what an earlier run learned, or of vseg export ditta (.onnx): '
        'start FROZEN with it.')

    def with_warmup_frames(self, frames: int, keep_all: bool = False) -> Self:
        """Return the settings with a warm-up of so many frames; `keep_all` learns from all."""
        kept = max(frames, 2) if keep_all else self.warmup.max_frames
        warmup = self.warmup.model_copy(update={'frames': frames, 'max_frames': kept})
        return self.model_copy(update={'warmup': warmup})


class OnlineAdaptationSettings(SegmenterSettings):
    """What the baselines have that learn from every frame of a warm-up, as it comes."""

    warmup: WarmupLength = WarmupLength()

    def with_warmup_frames(self, frames: int, keep_all: bool = False) -> Self:
        """Return the settings with a warm-up of so many frames; all are learned from."""
        return self.model_copy(
            update={'warmup': self.warmup.model_copy(update={'frames': frames})})


class TentLearning(Settings):
    """TENT: entropy minimisation by the affine parameters of normalisation."""

    learning_rate: float = Field(1e-3, gt=0, le=1, description='Learning rate of Adam.')
    steps: int = Field(1, ge=1, le=100, description='Steps a warm-up frame.')
    part: Literal['all', 'decoder'] = Field(
        'all', description='Whose normalisation layers learn: all of the segmenter, or the '
        "decoder's alone.")
    batch_norm: Literal['batch', 'frozen'] = Field(
        'batch', description='Statistics of batch normalisation in the warm-up: of the frame at '
        'hand, which also renews the running ones, or the running ones as trained.')


class TentSettings(OnlineAdaptationSettings):
    """TENT, a baseline: entropy minimisation in a warm-up (pipeline `tent`)."""

    tent: TentLearning = TentLearning()


class CottaLearning(Settings):
    """CoTTA: averaged teacher, averaged augmentations, stochastic restoration."""

    learning_rate: float = Field(7.5e-6, gt=0, le=1, description='Learning rate of Adam.')
    steps: int = Field(1, ge=1, le=100, description='Steps a warm-up frame.')
    part: Literal['all', 'decoder'] = Field(
        'all', description='What learns: all of the segmenter, or the decoder alone.')
    momentum: float = Field(
        0.999, ge=0, lt=1, description='What the teacher keeps of itself a step (Eq. 2).')
    restore: float = Field(
        0.01, ge=0, le=1, description="Share of the student's weights that are set back to the "
        "segmenter's after each step (Eq. 7, 8).")
    threshold: float = Field(
        0.69, ge=0, le=1, description='Confidence of the segmenter below which the label of a '
        'pixel is averaged over augmentations (Eq. 4).')
    largest_scale: float = Field(
        2.0, ge=0.5, le=2, description='Largest of the scales 0.5, 0.75, ... 2 that are averaged, '
        'each also mirrored; time a warm-up frame grows with its square.')
    frozen: Literal['teacher', 'student'] = Field(
        'student', description='Whose weights are frozen after the warm-up. A teacher of a short '
        'warm-up has hardly moved.')


class CottaSettings(OnlineAdaptationSettings):
    """CoTTA, a baseline: a teacher and its student in a warm-up (pipeline `cotta`)."""

    cotta: CottaLearning = CottaLearning()


class AuxAdaptLearning(Settings):
    """AuxAdapt: a small network beside the segmenter learns from the decisions of both."""

    network: str = Field(
        '', description='Auxiliary segmenter of the same classes, smaller than the segmenter: a '
        "name, a hub id or a folder; empty takes the segmenter's own weights.")
    scale: float = Field(
        0.5, ge=0.1, le=1, description="Size of the auxiliary network's image, relative to the "
        "segmenter's input.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description='Learning rate of SGD.')
    momentum: float = Field(0.9, ge=0, lt=1, description='Momentum of SGD.')
    steps: int = Field(1, ge=1, le=100, description='Steps a warm-up frame.')


class AuxAdaptSettings(OnlineAdaptationSettings):
    """AuxAdapt, a baseline: an auxiliary network in a warm-up (pipeline `auxadapt`)."""

    auxadapt: AuxAdaptLearning = AuxAdaptLearning()


class RefineObjects(Settings):
    """Zero-shot refinement: objects of the first frame, tracked and painted over the labels."""

    min_area: float = Field(
        0.0005, ge=0, le=1, description='Least area of an object, as a share of the image.')
    renew: int = Field(
        5, ge=0, le=100000, description="Frames after which the segmenter's labels give new "
        'objects; 0 keeps those of the first frame, as in the paper.')
    kept_frames: int = Field(
        512, ge=2, le=100000, description='Frames after which the tracker starts again from its '
        'present masks; bounds its memory.')


class RefineSettings(SegmenterSettings):
    """Zero-shot refinement with a tracker, a baseline without learning (pipeline `refine`)."""

    tracker: str = Field(
        'flow', description='Mask tracker: flow (no weights needed), sam2.1-hiera-tiny, -small, '
        '-base-plus, -large, edgetam, a hub id or a folder.')
    refine: RefineObjects = RefineObjects()


class Time2GeneralSettings(PipelineSettings):
    """Time2General: weather-robust driving segmentation over clips (pipeline `time2general`)."""

    weights: str = Field(
        'driving-t2g', description='Trained model: a bundled name, or a file written by '
        '`vseg train time2general`.')
    mode: Literal['sliding', 'clips'] = Field(
        'sliding', description='sliding answers every frame at once from it and those before it; '
        'clips waits for clip_length frames and answers them together, as in the paper.')
    clip_length: int = Field(
        0, ge=0, le=64, description='Frames that are seen together; 0 takes as many as the model '
        'was trained with, which is also the most.')
    max_gap: float = Field(
        2.0, gt=0, le=3600, description='Pause between two frames, in s by their stamps, after '
        'which the frames before are forgotten.')

    @property
    def model_name(self) -> str:
        """The weights."""
        return self.weights


class WindowSettings(Settings):
    """What a question looks at."""

    seconds: float = Field(
        2.0, gt=0, le=600, description='How much of the past a question sees, in s by the '
        "frames' stamps.")
    max_frames: int = Field(
        64, ge=1, le=10000, description='Most frames of a window: of a longer one, evenly spaced '
        'frames are kept. Bounds memory.')
    sampled: int = Field(
        0, ge=0, le=64, description='Frames, evenly spaced over the window, that the language '
        'model sees; 0 takes as many as the model was trained with.')


class AnchorSettings(Settings):
    """The Temporal Dynamic Anchor Updater (TDAU)."""

    count: int = Field(
        0, ge=0, le=64, description='Anchors: sampled frames, evenly spaced, on which the mask '
        'is predicted from the sentence; in between it is propagated. 0 takes as many as the '
        'model was made for: 3 in the released one.')
    attended: int = Field(
        3, ge=1, le=16, description='Most anchors that a propagated frame attends to.')
    memory: int = Field(
        7, ge=1, le=16, description='Slots of memory as SAM 2 counts them: one for anchors, the '
        'rest for the frames just before.')


class FollowSettings(Settings):
    """Going on with an answer in new frames."""

    reanchor: float = Field(
        2.0, ge=0, le=3600, description='Time in s, by the stamps, after which the sentence is '
        'asked again about the frames seen since, which sets a new anchor; 0 never asks again.')


class VirstSettings(ComputeSettings):
    """VIRST: a sentence in, a mask track and an answer out."""

    weights: str = Field(
        'virst-nano', description='Trained model: a bundled name, a file written by `vseg train '
        'virst`, or a folder written by `vseg convert virst`.')
    four_bit: bool = Field(
        False, description='Load a large language model in 4 bits; needs CUDA and bitsandbytes.')
    window: WindowSettings = WindowSettings()
    anchors: AnchorSettings = AnchorSettings()
    follow: FollowSettings = FollowSettings()


PIPELINE_SETTINGS: dict[str, type[PipelineSettings]] = {
    'iss': SegmenterSettings,
    'ditta': DittaSettings,
    'time2general': Time2GeneralSettings,
    'tent': TentSettings,
    'cotta': CottaSettings,
    'auxadapt': AuxAdaptSettings,
    'refine': RefineSettings,
}
"""The settings of every pipeline, by the pipeline's name."""

"""
Settings of the trainings, read from a file such as config/train_iss.yaml.

They share form and errors with the settings of the pipelines (`settings.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from vseg_ros.settings import Settings


class TrainingStage(Settings):
    """One stage of a progressive schedule."""

    steps: int = Field(..., ge=1, description='Steps of this stage.')
    batch: int = Field(..., ge=1, description='Images a step (and process).')
    height: int = Field(..., ge=32, description='Height of the crop in pixels.')
    width: int = Field(..., ge=32, description='Width of the crop in pixels.')
    scale_min: float = Field(0.5, gt=0, description='Smallest zoom before cropping.')
    scale_max: float = Field(1.5, gt=0, description='Largest zoom before cropping.')
    street_share: float = Field(
        0.25, ge=0, le=1, description='Share of images from the synthetic street.')

    @model_validator(mode='after')
    def _check_scales(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(f'scale_min {self.scale_min} is above scale_max {self.scale_max}')
        return self


class SegmenterTrainingSettings(Settings):
    """Training of the image segmenter (`vseg train iss`)."""

    variant: str = Field('b0', pattern='^b[0-5]$', description='SegFormer size, b0 to b5.')
    start_from: str = Field(
        '', description='Weights to begin with, for fine-tuning; empty begins at random.')
    camvid: str = Field(
        '', description='Folder with images/ and labels/ in the ids of the SegNet tutorial; '
        'empty trains on the synthetic street alone.')
    street_images: int = Field(
        1200, ge=1, description='Images drawn from the synthetic street, each from a street of '
        'its own.')
    stages: tuple[TrainingStage, ...] = Field(..., min_length=1)
    learning_rate: float = Field(1e-3, gt=0, description='Peak learning rate of AdamW.')
    warmup_steps: int = Field(300, ge=1, description='Steps of linear warm-up.')
    cosine_steps: int = Field(
        0, ge=0, description='Steps in which the cosine falls to zero; 0 takes those of all '
        'stages, more leaves a learning rate at the end, for a fine-tuning to take up.')
    weight_decay: float = Field(0.05, ge=0, description='Weight decay of AdamW.')
    average: float = Field(
        0.998, ge=0, lt=1, description='What the averaged weights keep of themselves a step.')
    rarity: float = Field(
        0.4, ge=0, le=1, description='How much more rare classes count in the cross entropy: '
        'weight = frequency to the power of minus this; 0 counts all pixels alike.')
    jaccard: float = Field(
        0.0, ge=0, description='Weight of the soft Jaccard loss, the mean IoU with probabilities, '
        'beside the cross entropy; 0 leaves it out.')
    clip_length: int = Field(
        1, ge=1, le=64, description='Frames of a clip; above 1 a batch counts clips of '
        'neighbouring images, and pans over single ones, instead of images.')
    pan_share: float = Field(
        0.5, ge=0, le=1, description='Share of the clips of camera images that pan over a single '
        'image instead of taking neighbouring ones; those of the synthetic street always do.')
    consistency: float = Field(
        0.0, ge=0, description='Weight of the Masked Temporal Consistency Loss, which keeps '
        'labels from flickering, for a clip_length above 1; 0 leaves it out.')
    paste_classes: tuple[int, ...] = Field(
        (4, 5, 6, 7, 10, 11, 14), description='Driving ids that are pasted between images, but '
        'not between clips.')
    calibration_images: int = Field(
        0, ge=0, description='Camera images, evenly spaced, on which the biases of the finished '
        'classifier are set for the mean IoU; 0 leaves them as trained.')
    device: Literal['auto', 'cpu'] = Field('auto', description='auto or cpu.')
    precision: Literal['float32', 'bfloat16'] = Field(
        'bfloat16', description='Number format of forward and backward.')
    checkpoint_every: int = Field(250, ge=1, description='Steps between checkpoints.')
    seed: int = Field(0, ge=0, description='Seed of weights, order and augmentation.')

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @model_validator(mode='after')
    def _check_clips(self) -> Self:
        if self.consistency and self.clip_length == 1:
            raise ValueError(f'consistency {self.consistency} compares the frames of a clip: '
                             'choose a clip_length of 2 or more')
        return self


class Time2GeneralModelSettings(Settings):
    """Architecture of Time2General; stored with its weights."""

    backbone: str = Field(
        'facebook/dinov2-large', description='Frozen backbone: a hub id or folder of a DINOv2 or '
        'another backbone of transformers, or an image segmenter such as driving-b0, whose '
        'encoder is taken.')
    blocks: tuple[int, ...] = Field(
        (8, 12, 16, 24), description='Blocks of the backbone whose tokens are read, from 1; for '
        'an image segmenter, its stages.')
    queries: int = Field(100, ge=1, le=1000, description='Stability Queries.')
    width: int = Field(256, ge=8, le=2048, description='Width of the query space.')
    decoder_blocks: int = Field(
        9, ge=1, le=24, description='Blocks of the memory decoder (Eq. 4).')
    heads: int = Field(8, ge=1, le=32, description='Heads of the deformable attention.')
    points: int = Field(
        4, ge=1, le=16, description='Places a head looks at in each frame and scale.')
    feed_forward: int = Field(
        2048, ge=8, le=8192, description='Hidden width of the feed-forward layers.')
    clip_length: int = Field(5, ge=1, le=64, description='Most frames in a clip.')
    upsampling: int = Field(
        2, ge=0, le=3, description='How often the fused pixel features are doubled in size; 2 '
        'brings a ViT from 1/14 to 1/3.5.')
    memory: bool = Field(
        True, description='Whether the queries attend to the whole clip; if not, only to the '
        'frame they decode, an ablation.')
    modulation: bool = Field(
        True, description='Whether the queries modulate the backbone features (Eq. 1); if not, '
        'they are only projected, an ablation.')
    standardize: bool = Field(
        False, description='Whether each channel of the features is brought to mean 0 and '
        'variance 1 over its frame before the queries see it, which takes back what fog or snow '
        'does to whole feature maps; not in the paper.')
    text_prior: str = Field(
        '', description='CLIP text model, a hub id or folder, whose class embeddings bias the '
        'queries; needed once, the embeddings are kept with the weights. Empty: no text prior.')
    depth_prior: str = Field(
        '', description='Frozen Depth Anything model, a hub id or folder with the tokenization of '
        'the backbone. Empty: no depth prior.')


class ClipLossSettings(Settings):
    """Losses of Time2General; a weight of 0 leaves one out."""

    class_weight: float = Field(2.0, ge=0, description='Weight of the class of each query.')
    mask_weight: float = Field(5.0, ge=0, description='Weight of the mask cross entropy.')
    dice_weight: float = Field(5.0, ge=0, description='Weight of the mask Dice loss.')
    no_object: float = Field(
        0.1, ge=0, le=1, description='Weight of queries that match nothing, against those that '
        'match.')
    pixel_weight: float = Field(
        0.0, ge=0, description='Weight of the cross entropy of the decoded pixels, which small '
        'models learn from faster.')
    jaccard_weight: float = Field(
        0.0, ge=0, description='Weight of the soft Jaccard loss of the decoded pixels.')
    consistency_weight: float = Field(
        1.0, ge=0, description='Weight of the Masked Temporal Consistency Loss (Sec. 3.4).')
    trim: float = Field(
        0.2, ge=0, lt=1, description='Share of the largest differences that it leaves out '
        '(Eq. 10).')
    decay: float = Field(
        0.5, gt=0, le=1, description='Weight of each doubled temporal stride against the one '
        'before (Eq. 11).')


class Time2GeneralTrainingSettings(Settings):
    """Training of Time2General (`vseg train time2general`)."""

    model: Time2GeneralModelSettings = Time2GeneralModelSettings()
    loss: ClipLossSettings = ClipLossSettings()
    source: str = Field(
        '', description='Folder of a labelled data set; empty trains on the synthetic street '
        'alone.')
    format: str = Field('camvid11', description='Layout of the source, as `vseg evaluate` has it.')
    strides: tuple[int, ...] = Field(
        (1,), min_length=1, description='Frames between the frames of a clip, one drawn for each '
        'clip; 5, 10, 15, 20, 30, 40 for densely labelled sources.')
    street_videos: int = Field(
        40, ge=0, description='Streets of the synthetic street to train on, each a video of its '
        'own.')
    street_share: float = Field(
        0.25, ge=0, le=1, description='Share of clips from the synthetic street.')
    street_strides: tuple[int, ...] = Field(
        (1, 2, 5, 10, 15), min_length=1, description='Frames between the frames of a clip of the '
        'synthetic street, at 15 Hz.')
    pan_share: float = Field(
        0.0, ge=0, le=1, description='Share of clips that pan over a single image of the source '
        'instead of taking neighbouring images.')
    weather_share: float = Field(
        0.0, ge=0, le=1, description='Share of clips that are seen through fog, frost, snow or '
        'spatter; 0 trains in the weather that the source has.')
    height: int = Field(512, ge=32, description='Height of the crop in pixels.')
    width: int = Field(512, ge=32, description='Width of the crop in pixels.')
    scale_min: float = Field(0.5, gt=0, description='Smallest zoom before cropping.')
    scale_max: float = Field(2.0, gt=0, description='Largest zoom before cropping.')
    class_share: float = Field(
        0.75, gt=0, le=1, description='A crop is drawn again while one class fills more than this '
        'share of it.')
    steps: int = Field(30_000, ge=1, description='Optimisation steps.')
    batch: int = Field(4, ge=1, description='Clips a step (and process).')
    drawn_clips: int = Field(
        0, ge=0, description='Clips that are drawn, varied and encoded once and then trained on '
        'again and again: the frozen backbone need not see them twice. 0 draws every clip anew.')
    learning_rate: float = Field(6e-5, gt=0, description='First learning rate of AdamW.')
    weight_decay: float = Field(0.05, ge=0, description='Weight decay of AdamW.')
    power: float = Field(
        0.9, gt=0, description='Power of the polynomial by which the learning rate falls to zero.')
    average: float = Field(
        0.0, ge=0, lt=1, description='What averaged weights keep of themselves a step; 0 keeps '
        'those of the last step.')
    device: Literal['auto', 'cpu'] = Field('auto', description='auto or cpu.')
    precision: Literal['float32', 'bfloat16'] = Field(
        'bfloat16', description='Number format of forward and backward.')
    checkpoint_every: int = Field(1000, ge=1, description='Steps between checkpoints.')
    seed: int = Field(0, ge=0, description='Seed of weights, order and augmentation.')

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(f'scale_min {self.scale_min} is above scale_max {self.scale_max}')
        if self.model.width % self.model.heads:
            raise ValueError(f'model.width {self.model.width} is no multiple of model.heads '
                             f'{self.model.heads}')
        return self


class TrackerTrainingSettings(Settings):
    """Training of the small SAM 2 (`vseg train tracker`)."""

    encoder: str = Field(
        'driving-b0', description='SegFormer-B0 whose frozen encoder it sees through.')
    camvid: str = Field(
        '', description='Folder with images/ and labels/ in the ids of the SegNet tutorial, over '
        'which clips pan; empty trains on the synthetic street alone.')
    street_clips: int = Field(1300, ge=0, description='Clips, each of another street.')
    pan_clips: int = Field(250, ge=0, description='Clips that pan over the images of camvid.')
    clip_length: int = Field(5, ge=2, le=16, description='Frames of the clips that are kept.')
    frames: int = Field(
        3, ge=1, le=16, description='Frames of them that a step follows; 1 learns prompts alone.')
    start_from: str = Field(
        '', description='Weights of an earlier run to begin with; empty begins at random.')
    steps: int = Field(800, ge=1, description='Steps.')
    batch: int = Field(4, ge=1, description='Clips a step.')
    objects: int = Field(4, ge=1, description='Things followed in each clip.')
    stuff_share: float = Field(
        0.35, ge=0, le=1, description='Share of stuff, such as road or sky, among the things.')
    min_cells: int = Field(
        20, ge=1, description="Least size of a thing in the first frame, in pixels of half the "
        "model's resolution.")
    balanced: bool = Field(
        False, description='Let what is inside of a thing count as much as all outside of it: '
        'finds small things sooner, but makes masks too large; for a first run.')
    mask_prompts: float = Field(
        0.2, ge=0, le=1, description='Share of steps that prompt by masks instead of points.')
    learning_rate: float = Field(6e-4, gt=0, description='Peak learning rate of AdamW.')
    warmup_steps: int = Field(50, ge=1, description='Steps of linear warm-up.')
    weight_decay: float = Field(0.01, ge=0, description='Weight decay of AdamW.')
    average: float = Field(
        0.99, ge=0, lt=1, description='What the averaged weights keep of themselves a step.')
    checkpoint_every: int = Field(50, ge=1, description='Steps between checkpoints.')
    seed: int = Field(0, ge=0, description='Seed of weights and order.')


class VirstLossSettings(Settings):
    """Weights of the losses of VIRST; the defaults are the paper's."""

    bce: float = Field(1.0, ge=0, description='Cross entropy of the masks.')
    dice: float = Field(1.0, ge=0, description='Dice loss of the masks.')
    token: float = Field(1.0, ge=0, description='Cross entropy of the words of the answer.')
    occlusion: float = Field(0.05, ge=0, description='Cross entropy of the object score.')
    iou: float = Field(0.05, ge=0, description='Error of the predicted IoU.')


class NanoLanguageSettings(Settings):
    """Architecture of the small language model of VIRST; stored with its weights."""

    width: int = Field(192, ge=12, multiple_of=12, description='Width of its hidden states.')
    layers: int = Field(4, ge=1, le=24, description='Layers of the decoder.')
    heads: int = Field(4, ge=1, le=32, description='Heads of both attentions.')
    prompt_count: int = Field(4, ge=1, le=32, description='[SEG] tokens a question.')
    grid: int = Field(24, ge=1, le=128, description='Rows and columns of visual tokens a frame.')
    maps: tuple[int, ...] = Field(
        (32, 64, 160, 256), description="Channels of the image encoder's maps, finest first.")
    folds: tuple[int, ...] = Field(
        (), description='How often finer than the grid each map is, finest first; what it has '
        'within a cell is then laid side by side, so that small things keep their shape. 1 for '
        'one that is not finer; empty averages all.')
    blocks: int = Field(
        2, ge=1, le=12, description='Blocks that mix visual tokens over space and time.')
    claims: int = Field(
        0, ge=0, le=1024, description='Number of claims that each visual token tells true or '
        'false of the thing it shows; needed in training alone.')
    attention: int = Field(
        0, ge=0, le=12, description='How many of these blocks, the last ones, are followed by '
        'attention of every visual token to all of its clip.')
    things: int = Field(
        0, ge=0, le=1024, description='Channels in which visual tokens are compared that tell '
        'which of them show the same thing; the coarse prompt then lies on one thing alone. 0 '
        'leaves that out.')
    dropout: float = Field(0.1, ge=0, lt=1, description='Dropout in training.')

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.attention > self.blocks:
            raise ValueError(f'attention {self.attention} is above blocks {self.blocks}')
        if self.width % self.heads:
            raise ValueError(f'width {self.width} is no multiple of heads {self.heads}')
        if self.folds and (len(self.folds) != len(self.maps) or min(self.folds) < 1):
            raise ValueError(f'folds {self.folds} must be one number of 1 or more for each of '
                             f'{len(self.maps)} maps')
        return self


class NanoVirstSettings(Settings):
    """Architecture of the small VIRST; stored with its weights."""

    encoder: str = Field(
        'driving-b0', description='SegFormer-B0 whose frozen encoder it sees through.')
    side: int = Field(384, ge=64, multiple_of=32, description='Side of the image it sees, in px.')
    width: int = Field(128, ge=64, multiple_of=64, description="Width of SAM 2's features.")
    language: NanoLanguageSettings = NanoLanguageSettings()
    initial_steps: int = Field(
        1, ge=0, le=3, description='How often the first fusion halves the features.')
    refined_steps: int = Field(
        0, ge=0, le=3, description='How often the second fusion halves the features.')
    heads: int = Field(4, ge=1, le=32, description='Heads of both fusions.')
    layers: int = Field(2, ge=1, le=12, description='Layers of the second fusion.')
    single_fusion: bool = Field(
        False, description='Leave the second fusion out (an ablation): one prompt for all frames.')
    frames: int = Field(5, ge=1, le=64, description='Sampled frames.')
    anchors: int = Field(
        3, ge=1, le=64, description='How many of them are anchors when it is used.')

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.width % self.heads or self.language.width % self.heads:
            raise ValueError(f'width {self.width} or language.width {self.language.width} is no '
                             f'multiple of heads {self.heads}')
        grid = self.language.grid
        for stride, fold in zip((4, 8, 16, 32), self.language.folds, strict=False):
            if fold > 1 and self.side != stride * fold * grid:
                raise ValueError(f'language.folds has {fold} for the map of stride {stride}, of '
                                 f'{self.side // stride} cells a side, which do not unfold into '
                                 f'a language.grid of {grid}')
        return self


class VirstTrainingSettings(Settings):
    """Training of VIRST (`vseg train virst`), one stage a run."""

    stage: int = Field(
        1, ge=0, le=3, description='Which of the three stages; 0 trains a small language model '
        'alone before them.')
    model: NanoVirstSettings = NanoVirstSettings()
    tracker: str = Field(
        '', description='File of a small SAM 2 that is trained already, to begin with; empty '
        'begins with random weights. Not used where --start-from goes on with a VIRST.')
    source: str = Field(
        '', description='Folder of a referring data set; empty trains on the synthetic street.')
    format: str = Field(
        'mevis', description='Layout of the source: ref-youtube-vos, ref-davis17, mevis, revos or '
        'refcoco.')
    split: str = Field('train', description='Split of the source, as the data set names it.')
    street_clips: int = Field(
        1300, ge=1, description='Clips of the synthetic street, each of another street.')
    clip_length: int = Field(5, ge=1, le=64, description='Frames of the clips that are kept.')
    steps: int = Field(1000, ge=1, description='Steps.')
    batch: int = Field(3, ge=1, description='Clips a step.')
    questions: int = Field(6, ge=1, description='Questions about each clip.')
    frames: int = Field(5, ge=1, le=64, description='Frames of a clip; stage 2 takes one.')
    anchors: int = Field(
        2, ge=0, le=64, description='Frames of a clip whose masks are predicted from the '
        'question; stage 3 propagates to the others. 0 draws no masks in stage 1: both fusions '
        'and a small language model then learn from words and grounding alone, on more questions '
        'in the same time.')
    loss_weights: VirstLossSettings = VirstLossSettings()
    grounding: float = Field(
        0.0, ge=0, description='Weight of the loss that tells a model trained from scratch '
        'where to look; not in the paper.')
    claims: float = Field(
        0.0, ge=0, description='Weight of the loss that tells what each visual token of a small '
        'language model shows, where the clips know; not in the paper.')
    things: float = Field(
        0.0, ge=0, description='Weight of the loss that tells which cells show the same thing, '
        'where the clips know; not in the paper.')
    choice: float = Field(
        0.0, ge=0, description="Weight of the loss that tells which of a clip's things to look "
        'at most, where the clips know; not in the paper.')
    told: float = Field(
        0.0, ge=0, le=1, description='Share of the questions whose coarse prompt is told to the '
        'mask decoder, where it would otherwise be what the second fusion sees; not in the paper.')
    sam_alone: bool = Field(
        False, description='Stages 2 and 3: let SAM 2 alone learn, while the language model and '
        'both fusions stay as they are; not in the paper.')
    precision: Literal['float32', 'bfloat16'] = Field(
        'float32', description='bfloat16 trains with mixed precision, faster where the processor '
        'has it.')
    learning_rate: float = Field(4e-4, gt=0, description='Peak learning rate of AdamW.')
    warmup_steps: int = Field(50, ge=1, description='Steps of linear warm-up.')
    weight_decay: float = Field(0.01, ge=0, description='Weight decay of AdamW.')
    average: float = Field(
        0.99, ge=0, lt=1, description='What the averaged weights keep of themselves a step.')
    checkpoint_every: int = Field(50, ge=1, description='Steps between checkpoints.')
    seed: int = Field(0, ge=0, description='Seed of weights and order.')

    @model_validator(mode='after')
    def _check_learning(self) -> Self:
        if self.sam_alone and self.stage < 2:
            raise ValueError(f'sam_alone lets nothing learn in stage {self.stage}, where SAM 2 is '
                             'frozen: choose stage 2 or 3')
        return self

"""
Every setting of every pipeline: name, default, range, unit and meaning, defined once.

A pipeline's settings are a pydantic model. Groups are nested models, so the dotted names
(`warmup.frames`) are the same in a ROS 2 parameter file, as ROS parameters and after `-p` on the
command line. `load_settings` reads a parameter file (`/**: ros__parameters:`) and overrides, and
turns every mistake into one line that names the setting, its range and the nearest known name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from typing_extensions import Self

from vseg_ros.errors import UserError

Precision = Literal['auto', 'float32', 'bfloat16', 'float16']


class Settings(BaseModel):
    """Base of all settings: unknown names are errors, values cannot be changed in place."""

    model_config = ConfigDict(extra='forbid', frozen=True, validate_default=True,
                              allow_inf_nan=False)


class SegmenterSettings(Settings):
    """The plain image segmenter, frame by frame (pipeline `iss`)."""

    segmenter: str = Field(
        'driving-b0', description='Image segmenter: a bundled name, a hub id such as '
        'nvidia/segformer-b5-finetuned-cityscapes-1024-1024, or a folder.')
    device: str = Field(
        'auto', description='Where to compute: auto, cpu, cuda or cuda:N.')
    precision: Precision = Field(
        'auto', description='Number format of the networks; auto is float32 on a CPU and '
        'bfloat16 on a GPU.')
    input_size: int = Field(
        360, ge=0, le=4096, description='Shorter side of the image given to the segmenter, in '
        'pixels; larger frames are scaled down to it, 0 never scales.')
    seed: int = Field(0, ge=0, le=2**31 - 1, description='Seed of everything random.')


class WarmupSettings(Settings):
    """How long DiTTA watches before it adapts; the first that is set counts."""

    frames: int = Field(
        0, ge=0, le=10000, description='Frames to watch; 0 leaves it to warmup.seconds.')
    seconds: float = Field(
        1.0, ge=0, le=3600, description="Seconds to watch, in s, by the frames' stamps; 0 "
        'leaves it to warmup.ratio.')
    ratio: float = Field(
        0.0, ge=0, le=1, description='Share of the bag to watch, 0..1; offline only, where it '
        'goes before frames and seconds.')
    max_frames: int = Field(
        16, ge=2, le=10000, description='Most frames to learn from; a longer warm-up keeps evenly '
        'spaced ones. Time and memory of the adaptation grow with it.')


class FusionSettings(Settings):
    """The temporal add-on and its fusion with the plain branch (Sec. 3.1)."""

    tau: float = Field(
        0.8, ge=0, le=1, description='Reliability below which a pixel also listens to the '
        'frame before (Eq. 3); 0 turns the add-on off.')
    radius: int = Field(
        5, ge=1, le=16, description='Radius of the attention window, in cells of 4 pixels.')
    memory: Literal['fused', 'plain'] = Field(
        'fused', description='What the frame before hands on: its fused logits, so that older '
        'frames are still heard, or those of its plain branch, as in the paper.')


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
        '', description='File of what an earlier run learned: start FROZEN with it.')

    def with_warmup_frames(self, frames: int, keep_all: bool = False) -> DittaSettings:
        """Return the settings with a warm-up of so many frames; `keep_all` learns from all."""
        kept = max(frames, 2) if keep_all else self.warmup.max_frames
        warmup = self.warmup.model_copy(update={'frames': frames, 'max_frames': kept})
        return self.model_copy(update={'warmup': warmup})


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
    paste_classes: tuple[int, ...] = Field(
        (4, 5, 6, 7, 10, 11, 14), description='Driving ids that are pasted between images.')
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


PIPELINE_SETTINGS: dict[str, type[SegmenterSettings]] = {
    'iss': SegmenterSettings,
    'ditta': DittaSettings,
}
"""The settings of every pipeline, by the pipeline's name."""

SettingsType = TypeVar('SettingsType', bound=Settings)


def dotted_fields(model: type[Settings], prefix: str = '') -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted name, field) of every single value in a settings model."""
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Settings):
            yield from dotted_fields(nested, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', field


def load_settings(model: type[SettingsType], file: Path | None = None,
                  overrides: Sequence[str] = ()) -> SettingsType:
    """
    Read settings: the defaults, then a ROS 2 parameter file, then overrides.

    Args:
        model: which settings.
        file: YAML of the form `/**: ros__parameters: ...`; None reads none.
        overrides: 'dotted.name=value' each, as after `-p`.

    Raises:
        UserError: the file is missing or malformed, a name is unknown (the nearest is named) or
            a value is out of its range (the range is named).

    """
    return settings_from_values(model, read_values(file, overrides))


def load_pipeline_settings(names: Sequence[str], file: Path | None = None,
                           overrides: Sequence[str] = ()) -> dict[str, SegmenterSettings]:
    """
    Read settings for several pipelines at once; each takes the values that it knows.

    Args:
        names: keys of `PIPELINE_SETTINGS`.
        file: as in `load_settings`.
        overrides: as in `load_settings`.

    Raises:
        UserError: as in `load_settings`; a name must be known to at least one pipeline there is.

    """
    values = read_values(file, overrides)
    known = {name: dict(dotted_fields(model)) for name, model in PIPELINE_SETTINGS.items()}
    everywhere = {field for fields in known.values() for field in fields}
    for name in values:
        if name not in everywhere:
            raise UserError(_unknown_name(name, sorted(everywhere)))
    return {name: settings_from_values(
        PIPELINE_SETTINGS[name], {k: v for k, v in values.items() if k in known[name]})
        for name in names}


def read_values(file: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """
    Read dotted names and values from a parameter file, then from overrides.

    Raises:
        UserError: the file is missing or malformed, or an override is not name=value.

    """
    values: dict[str, Any] = {}
    if file is not None:
        values.update(_flatten(_read_parameters(file)))
    for override in overrides:
        name, separator, text = override.partition('=')
        if not separator:
            raise UserError(f'-p {override!r} is not of the form name=value')
        values[name.strip()] = _parse_value(text)
    return values


def settings_from_values(model: type[SettingsType], values: Mapping[str, Any]) -> SettingsType:
    """
    Make settings from dotted names and values; what is not named keeps its default.

    Raises:
        UserError: as in `load_settings`.

    """
    fields = dict(dotted_fields(model))
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(_unknown_name(name, fields))
        group = nested
        *groups, leaf = name.split('.')
        for part in groups:
            group = group.setdefault(part, {})
        group[leaf] = value
    try:
        return model.model_validate(nested)
    except ValidationError as error:
        raise UserError(_explain(error, fields)) from error


def describe_range(field: FieldInfo) -> str:
    """Say in words what values a setting takes, such as '0 to 1'; empty for free text."""
    limits = {type(item).__name__: item for item in field.metadata}
    low = next((f'{word}{getattr(limits[kind], attribute)}' for kind, attribute, word in
                (('Ge', 'ge', ''), ('Gt', 'gt', 'above ')) if kind in limits), '')
    high = next((f'{word}{getattr(limits[kind], attribute)}' for kind, attribute, word in
                 (('Le', 'le', ''), ('Lt', 'lt', 'below ')) if kind in limits), '')
    if low and high:
        return f'{low} to {high}'
    if low:
        return low if low.startswith('above') else f'at least {low}'
    return f'at most {high}' if high else ''


def _read_parameters(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(f'the parameter file {file} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = ' '.join(str(error).split())
        raise UserError(f'the parameter file {file} is not valid YAML: {first}') from error
    nodes = content if isinstance(content, dict) else {}
    parameters = [node.get('ros__parameters') for node in nodes.values()
                  if isinstance(node, dict)]
    if len(nodes) != 1 or len(parameters) != 1 or not isinstance(parameters[0], dict):
        raise UserError(f'the parameter file {file} must have the form '
                        '"/**: ros__parameters: name: value", with one node name')
    return parameters[0]


def _flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f'{prefix}{name}.'))
        else:
            flat[f'{prefix}{name}'] = value
    return flat


def _parse_value(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text.strip() else ''
    except yaml.YAMLError:
        return text


def _unknown_name(name: str, known: Iterable[str]) -> str:
    known = list(known)
    nearest = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f'did you mean {nearest[0]!r}?' if nearest else f'known are {", ".join(known)}'
    return f'no setting {name!r}: {hint}'


def _explain(error: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    first = error.errors()[0]
    name = '.'.join(str(part) for part in first['loc'] if not isinstance(part, int))
    allowed = describe_range(fields[name]) if name in fields else ''
    reason = f'must be {allowed}' if allowed else str(first['msg']).lower()
    return f'setting {name!r} is {first["input"]!r}: {reason}'

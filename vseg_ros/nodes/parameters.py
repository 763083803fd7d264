"""
The parameters of the nodes, without ROS: which there are, when a change counts, and their table.

A node's parameters are one settings model that inherits from a method's settings and from
`NodeSettings`, so that a value is checked by the same lines offline and live and the model can be
given to `create_pipeline` or `create_video_query` as it is. Each model says which of its
parameters may change while the node runs (`effects`, read by `effect_of`). `declared_parameters`
shows a model to ROS; `parameter_table` shows it to readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Literal, cast, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

from vseg_ros.settings import (
    AdaptationSettings,
    DittaSettings,
    PipelineSettings,
    Settings,
    Time2GeneralSettings,
    VirstSettings,
)
from vseg_ros.settings_reading import describe_range, dotted_fields


class Effect(str, Enum):
    """When a new value of a parameter counts."""

    CONFIGURE = 'on configure'
    ADAPTATION = 'next adaptation'
    AT_ONCE = 'at once'


class NodeSettings(Settings):
    """
    What every node has, beside the settings of its method.

    Attributes:
        effects: when a change counts, by name or group. Whatever is not here makes networks or
            topics and counts on configure.

    """

    effects: ClassVar[Mapping[str, Effect]] = {
        'image_timeout': Effect.AT_ONCE,
        'status_period': Effect.AT_ONCE,
        'autostart': Effect.AT_ONCE,
    }
    image_transport: Literal['raw', 'compressed'] = Field(
        'raw', description='What arrives on the topic image: sensor_msgs/Image (raw) or '
        'sensor_msgs/CompressedImage with JPEG or PNG (compressed).')
    image_timeout: float = Field(
        5.0, ge=0.5, le=3600, description='Time without an image, in s, after which a warning '
        'says what may be wrong.')
    status_period: float = Field(
        1.0, ge=0.2, le=60, description='Time between two messages on ~/status and /diagnostics, '
        'in s; a change of state is published at once.')

    autostart: bool = Field(
        False, description='Configure when the process starts, and activate whenever that has '
        'worked. Off, `ros2 lifecycle set` or a lifecycle manager does it.')

    @property
    def model_name(self) -> str:
        """What is loaded, for messages."""
        raise NotImplementedError


class PipelineNodeSettings(NodeSettings, PipelineSettings):
    """What the nodes of all segmentation pipelines have."""


class LiveAdaptationSettings(AdaptationSettings):
    """Adaptation beside the stream: a camera does not wait."""

    background: bool = Field(
        True, description=AdaptationSettings.model_fields['background'].description)


class DittaNodeSettings(DittaSettings, PipelineNodeSettings):
    """Parameters of the node `ditta`."""

    effects: ClassVar[Mapping[str, Effect]] = {
        **NodeSettings.effects,
        'seed': Effect.ADAPTATION,
        'warmup': Effect.ADAPTATION,
        'fusion': Effect.ADAPTATION,
        'prompts': Effect.ADAPTATION,
        'vote': Effect.ADAPTATION,
        'adaptation': Effect.ADAPTATION,
        'adaptation.classes': Effect.CONFIGURE,  # the segmenter is loaded for it
        'save_adapted_to': Effect.AT_ONCE,
    }
    adaptation: LiveAdaptationSettings = LiveAdaptationSettings()
    save_adapted_to: str = Field(
        '', description='File for what was learned: written when an adaptation ends and by '
        '~/save; adapted_weights reads it. Empty writes none.')


class Time2GeneralNodeSettings(Time2GeneralSettings, PipelineNodeSettings):
    """Parameters of the node `time2general`."""


class VirstNodeSettings(NodeSettings, VirstSettings):
    """Parameters of the node `virst`."""

    max_queries: int = Field(
        32, ge=1, le=1000, description='Most queries that may wait for their answer; one more is '
        'refused.')

    @property
    def model_name(self) -> str:
        """The weights."""
        return self.weights


def effect_of(model: type[NodeSettings], name: str) -> Effect:
    """
    Tell when a new value counts.

    Args:
        model: the node's settings.
        name: dotted name of a parameter.

    Returns:
        CONFIGURE: the parameter cannot be changed while the node is configured.
        ADAPTATION: the next warm-up and adaptation use it.
        AT_ONCE: the node looks at it all the time.

    """
    group = name.partition('.')[0]
    return model.effects.get(name) or model.effects.get(group, Effect.CONFIGURE)


def allowed_words(field: FieldInfo) -> tuple[str, ...]:
    """Return the words that a setting may have; empty if it is no choice of words."""
    if get_origin(field.annotation) is Literal:
        return tuple(str(word) for word in get_args(field.annotation))
    return ()


def value_type(field: FieldInfo) -> type[bool | int | float | str]:
    """Return bool, int, float or str: what a setting is."""
    return str if allowed_words(field) else cast('type[bool | int | float | str]',
                                                 field.annotation)


_TYPE_NAMES = {bool: 'bool', int: 'integer', float: 'double', str: 'string'}


def parameter_table(model: type[NodeSettings]) -> str:
    """
    Describe all parameters of a node in Markdown.

    Args:
        model: the node's settings.

    Returns:
        a table, a line a parameter, without a newline at the end.

    """
    lines = ['| parameter | type | default | range | a change counts | meaning |',
             '|---|---|---|---|---|---|']
    for name, field in dotted_fields(model):
        default = field.get_default()
        shown = str(default).lower() if isinstance(default, bool) else default
        cells = (f'`{name}`', _TYPE_NAMES[value_type(field)], '' if shown == '' else f'`{shown}`',
                 ', '.join(allowed_words(field)) or describe_range(field),
                 effect_of(model, name).value, field.description or '')
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines)

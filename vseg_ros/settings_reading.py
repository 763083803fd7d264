"""
Settings read from a parameter file, from overrides, or from dotted names and values.

A parameter file is that of ROS 2 (`/**: ros__parameters:`). Every mistake becomes one line that
names the setting, its range and the nearest known name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from vseg_ros.errors import UserError
from vseg_ros.settings import PIPELINE_SETTINGS, PipelineSettings, Settings

DEEPEST = 4
"""Most groups that a parameter file is read into."""

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
                           overrides: Sequence[str] = ()) -> dict[str, PipelineSettings]:
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
    # Numbers of thousands of digits, dates that do not exist, deep nesting are errors of Python.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = ' '.join(str(error).split())[:200]
        raise UserError(f'the parameter file {file} is not valid YAML: {first}') from error
    nodes = content if isinstance(content, dict) else {}
    parameters = [node.get('ros__parameters') for node in nodes.values()
                  if isinstance(node, dict)]
    if len(nodes) != 1 or len(parameters) != 1 or not isinstance(parameters[0], dict):
        raise UserError(f'the parameter file {file} must have the form '
                        '"/**: ros__parameters: name: value", with one node name')
    return parameters[0]


def _flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    if prefix.count('.') > DEEPEST:
        raise UserError(f'the parameters below {prefix[:-1]!r} are nested too deeply: no setting '
                        f'has more than {DEEPEST} groups')
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
    except (yaml.YAMLError, ValueError, RecursionError):
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
    return f'setting {name!r} is {_shown(first["input"])}: {reason}'


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python shows no number of thousands of digits
        return 'a number of thousands of digits'
    return text if len(text) <= 200 else f'{text[:200]}…'

"""
Write a settings model as a ROS 2 parameter file: every setting, its meaning and its default.

The files in config/ that show all settings are written by this (`parameter_file_text`), and a test
keeps them so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from typing import Any

from vseg_ros.settings import Settings
from vseg_ros.settings_reading import describe_range, dotted_fields

WIDTH = 99


def parameter_file_text(model: type[Settings], introduction: str,
                        unset: Collection[str] = ()) -> str:
    """
    Write all settings of a model with their defaults.

    Args:
        model: the settings.
        introduction: comment at the head of the file.
        unset: names that are shown but commented out, because each program has its own default.

    Returns:
        YAML of the form `/**: ros__parameters: ...`, which `load_settings` reads.

    """
    lines = [*_comment(introduction, ''), '/**:', '  ros__parameters:']
    for name, field in dotted_fields(model):
        allowed = describe_range(field)
        meaning = f'{field.description} ({allowed})' if allowed else str(field.description)
        mark = '# ' if name in unset else ''
        lines += [*_comment(meaning, '    '), f'    {mark}{name}: {_yaml(field.default)}']
    return '\n'.join(lines) + '\n'


def _comment(text: str, indent: str) -> list[str]:
    start = f'{indent}# '
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start,
                         break_on_hyphens=False)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if value == '' or not isinstance(value, str) else value

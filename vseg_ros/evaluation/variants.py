"""
Pipelines under several settings: sweeps over the values of a setting, and ready ablations.

A sweep `fusion.tau=0,0.5,0.8` makes of every pipeline that knows the setting one variant a value,
named `ditta[fusion.tau=0.5]`; several sweeps make every combination. An ablation makes the rows of
a method's own study (DiTTA, Table 2: each of its three components alone, and each left out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vseg_ros.errors import UserError
from vseg_ros.evaluation.trial import Variant
from vseg_ros.settings import PIPELINE_SETTINGS
from vseg_ros.settings_reading import dotted_fields, load_pipeline_settings

_NO_ADDON = 'fusion.tau=0'
_NO_TARGETS = 'adaptation.targets=segmenter'
_NO_CONTRAST = 'adaptation.contrastive=0'

ABLATIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    'ditta': {
        '': (),
        'no add-on': (_NO_ADDON,),
        'no targets': (_NO_TARGETS,),
        'no contrastive': (_NO_CONTRAST,),
        'add-on alone': (_NO_TARGETS, _NO_CONTRAST),
        'targets alone': (_NO_ADDON, _NO_CONTRAST),
        'contrastive alone': (_NO_ADDON, _NO_TARGETS),
    },
}
"""Pipeline -> what a row is called -> its settings; the row without a name is the whole method.

Without the distillation targets DiTTA learns from the segmenter's own labels, as in its paper."""


@dataclass(frozen=True)
class Sweep:
    """
    Values to give to one setting.

    Attributes:
        setting: its dotted name.
        values: as written after `-p`, each once.

    """

    setting: str
    values: tuple[str, ...]


def read_sweep(text: str) -> Sweep:
    """
    Read 'fusion.tau=0,0.5,0.8'.

    Raises:
        UserError: not of that form.

    """
    name, separator, values = text.partition('=')
    parts = [part.strip() for part in values.split(',')]
    if not (name.strip() and separator and all(parts)):
        raise UserError(f'--sweep {text!r} is not of the form NAME=VALUE,VALUE such as '
                        'fusion.tau=0,0.5,0.8')
    return Sweep(name.strip(), tuple(dict.fromkeys(parts)))


def make_variants(pipelines: Sequence[str], params: Path | None, overrides: Sequence[str],
                  sweeps: Sequence[Sweep] = (), ablations: Sequence[str] = (),
                  ) -> list[Variant]:
    """
    Make every variant of the named pipelines, in the order of the pipelines.

    Args:
        pipelines: keys of `PIPELINE_SETTINGS`; one that knows no swept setting is one variant.
        params: a parameter file, or None.
        overrides: 'dotted.name=value' each; sweeps and ablations go before them.
        sweeps: of settings that at least one of the pipelines knows.
        ablations: pipelines of `ABLATIONS`; one that is not among `pipelines` is added.

    Raises:
        UserError: as for `load_pipeline_settings`, or no such ablation, or a sweep of a setting
            that none of the pipelines has or that was named twice.

    """
    for name in ablations:
        if name not in ABLATIONS:
            raise UserError(f'no ablation of {name!r}: there is one of {", ".join(ABLATIONS)}')
    names = list(dict.fromkeys([*pipelines, *ablations]))
    # Names and values of the overrides are checked for all pipelines together.
    load_pipeline_settings(names, params, overrides)
    known = {name: dict(dotted_fields(PIPELINE_SETTINGS[name])) for name in names}
    _check_sweeps(sweeps, known)
    return [variant for name in names for variant in _variants_of(
        name, params, overrides, [sweep for sweep in sweeps if sweep.setting in known[name]],
        ABLATIONS[name] if name in ablations else {'': ()})]


def _check_sweeps(sweeps: Sequence[Sweep], known: Mapping[str, Mapping[str, object]]) -> None:
    settings = [sweep.setting for sweep in sweeps]
    for setting in settings:
        if settings.count(setting) > 1:
            raise UserError(f'--sweep names {setting} twice: give all its values at once')
        if not any(setting in fields for fields in known.values()):
            # An unknown name is told with the nearest known one.
            load_pipeline_settings([], None, [f'{setting}=0'])
            raise UserError(f'--sweep {setting}: none of the pipelines {", ".join(known)} has '
                            'this setting; name one that has it with --pipelines')


def _variants_of(pipeline: str, params: Path | None, overrides: Sequence[str],
                 sweeps: Sequence[Sweep], rows: Mapping[str, tuple[str, ...]]) -> list[Variant]:
    """Make every combination of an ablation's rows and the sweeps' values."""
    choices = [[f'{sweep.setting}={value}' for value in sweep.values] for sweep in sweeps]
    return [_variant(pipeline, params, overrides, row, changes, values)
            for row, changes in rows.items() for values in product(*choices)]


def _variant(pipeline: str, params: Path | None, overrides: Sequence[str], row: str,
             changes: Sequence[str], values: Sequence[str]) -> Variant:
    told = ', '.join([*([row] if row else []), *values])
    settings = load_pipeline_settings([pipeline], params, [*overrides, *values, *changes])
    return Variant(f'{pipeline}[{told}]' if told else pipeline, pipeline, settings[pipeline])

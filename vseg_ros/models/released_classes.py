"""Names for the classes of a released checkpoint, which stores none, or none to rely on."""

from __future__ import annotations

from pathlib import Path

from vseg_ros.class_names import LABEL_SETS
from vseg_ros.errors import UserError

RELEASED = ('ade20k', 'cityscapes', 'vspw')
"""Data sets that image segmenters are released for."""


def released_names(classes: str | None, count: int) -> tuple[str, ...]:
    """
    Name the classes of a checkpoint.

    Args:
        classes: a key of `LABEL_SETS`, or a file with one name a line; None takes the data set of
            `RELEASED` that has as many classes.
        count: rows of the checkpoint's classifier.

    Returns:
        one name a class, in order of id.

    Raises:
        UserError: there is no such data set or file, the number of names is another, or two
            classes have one name.

    """
    if classes is None:
        names = next((LABEL_SETS[name].names for name in RELEASED
                      if len(LABEL_SETS[name]) == count), None)
        if names is None:
            raise UserError(f'the checkpoint knows {count} classes, as none of '
                            f'{", ".join(RELEASED)} does: give a file with their names, one a '
                            'line, by --classes')
        return names
    names = LABEL_SETS[classes].names if classes in LABEL_SETS else _read(classes)
    if len(names) != count:
        raise UserError(f'the checkpoint knows {count} classes, but --classes {classes} names '
                        f'{len(names)}: give the names that it was trained with')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f'--classes {classes}: two classes are named {twice!r}; every class needs '
                        'a name of its own')
    return names


def _read(classes: str) -> tuple[str, ...]:
    try:
        lines = Path(classes).expanduser().read_text(encoding='utf-8').splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f'--classes {classes}: neither one of {", ".join(LABEL_SETS)} nor a '
                        'readable file with one name a line') from error
    return tuple(line.strip() for line in lines if line.strip())

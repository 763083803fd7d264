"""Reads the attributes of every visible thing off the painted entity map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vseg_ros.io.street.attributes import InstanceAttributes
from vseg_ros.io.street.layout import Layout
from vseg_ros.io.street.painter import Painter
from vseg_ros.io.street.scene import Placed

_MIDDLE = (0.4, 0.6)  # shares of the picture's width between which a thing is ahead


def describe(layout: Layout, placed: list[Placed], painter: Painter,
             appeared_at: Callable[[Placed], int]) -> tuple[InstanceAttributes, ...]:
    """Describe the things with a visible pixel, nearest first."""
    _, instances, _ = painter.tables
    areas = np.bincount(painter.entities.ravel(), minlength=len(instances))
    things = {item.thing.instance_id: item for item in placed}
    described = []
    for entity in np.flatnonzero((areas > 0) & (instances > 0)):
        item = things[int(instances[entity])]
        box = _box(painter, int(entity))
        described.append(_attributes(layout, item, box, int(areas[entity]),
                                     painter.camera.size[1], appeared_at(item)))
    return tuple(sorted(described, key=lambda one: one.distance))


def _box(painter: Painter, entity: int) -> tuple[int, int, int, int]:
    """Return the box of an entity's visible pixels."""
    mask = painter.entities == entity
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _attributes(layout: Layout, item: Placed, box: tuple[int, int, int, int], area: int,
                width: int, appeared_at: int) -> InstanceAttributes:
    """Put the attributes of one thing together."""
    thing, velocity = item.thing, item.pose.velocity
    middle = (box[0] + box[2]) / 2 / width
    left, right = layout.edges
    return InstanceAttributes(
        instance_id=thing.instance_id, label=thing.label, kind=thing.kind, color=thing.color,
        box=box, area=area, distance=item.depth, lateral=item.lateral,
        side='left' if middle < _MIDDLE[0] else 'right' if middle > _MIDDLE[1] else 'ahead',
        motion=thing.motion_name(velocity, left < item.x < right),
        speed=float(np.hypot(*velocity)), lateral_speed=velocity[0], size=thing.size,
        appeared_at=appeared_at)

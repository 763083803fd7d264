"""Reads the attributes of every visible thing off the painted entity map."""

from __future__ import annotations

from collections.abc import Callable
from math import hypot

import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.attributes import InstanceAttributes
from vseg_ros.io.street.layout import Layout
from vseg_ros.io.street.painter import Box, Painter
from vseg_ros.io.street.scene import Placed
from vseg_ros.io.street.things import Thing

_MIDDLE = (0.4, 0.6)  # shares of the picture's width between which a thing is ahead


def describe(layout: Layout, placed: list[Placed], painter: Painter,
             appeared_at: Callable[[Thing], int]) -> tuple[InstanceAttributes, ...]:
    """Describe the things with a visible pixel, nearest first."""
    _, instances, _ = painter.tables
    things = {item.thing.instance_id: item for item in placed}
    described = []
    for entity, (box, area) in _boxes(painter, instances > 0).items():
        item = things[int(instances[entity])]
        described.append(_attributes(layout, item, box, area, painter.camera.size[1],
                                     appeared_at(item.thing)))
    return tuple(sorted(described, key=lambda one: one.distance))


def _boxes(painter: Painter, wanted: NDArray[np.bool_]) -> dict[int, tuple[Box, int]]:
    """Return box and area of the visible pixels of every wanted entity that has any."""
    pixels = np.flatnonzero(wanted[painter.entities])
    if not len(pixels):
        return {}
    entities = painter.entities.ravel()[pixels]
    order = np.argsort(entities, kind='stable')
    entities, pixels = entities[order], pixels[order]
    starts = np.flatnonzero(np.diff(entities, prepend=np.uint16(0)))
    rows, columns = np.divmod(pixels, painter.camera.size[1])
    boxes = np.stack([np.minimum.reduceat(columns, starts), np.minimum.reduceat(rows, starts),
                      np.maximum.reduceat(columns, starts) + 1,
                      np.maximum.reduceat(rows, starts) + 1], axis=1).tolist()
    areas = np.diff(starts, append=len(pixels)).tolist()
    return {int(entity): ((box[0], box[1], box[2], box[3]), area)
            for entity, box, area in zip(entities[starts], boxes, areas, strict=True)}


def _attributes(layout: Layout, item: Placed, box: Box, area: int, width: int,
                appeared_at: int) -> InstanceAttributes:
    """Put the attributes of one thing together."""
    thing, velocity = item.thing, item.pose.velocity
    middle = (box[0] + box[2]) / 2 / width
    left, right = layout.edges
    return InstanceAttributes(
        instance_id=thing.instance_id, label=thing.label, kind=thing.kind, color=thing.color,
        box=box, area=area, distance=item.depth, lateral=item.lateral,
        side='left' if middle < _MIDDLE[0] else 'right' if middle > _MIDDLE[1] else 'ahead',
        motion=thing.motion_name(velocity, left < item.x < right),
        speed=hypot(*velocity), lateral_speed=velocity[0], size=thing.size,
        appeared_at=appeared_at)

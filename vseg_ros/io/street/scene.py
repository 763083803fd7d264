"""
Puts one moment of a street into a picture, far to near.

Long things that flank the road are painted by their far end, everything else by its near end:
what stands nearer to the road than they do is then painted after them, and occludes them as it
should.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street import ground, lens, sky
from vseg_ros.io.street.blocks import Block
from vseg_ros.io.street.camera import Camera, Points
from vseg_ros.io.street.layout import Layout, stream
from vseg_ros.io.street.painter import Painter
from vseg_ros.io.street.textures import as_image
from vseg_ros.io.street.things import Pose, Thing

VIEW = 150.0  # metres ahead to which things with an instance id are painted
BEHIND = 8.0
_MARGIN = 9.0  # metres beside the view that something may reach into it
_GROUND_LABELS = (0, 1)


@dataclass(frozen=True, eq=False)
class Placed:
    """
    A thing where it is at one moment.

    Attributes:
        thing: the thing.
        pose: its pose.
        x: metres right of the centre line.
        z: metres along the street.
        depth: metres from the camera along its view.
        lateral: metres right of the camera's view.

    """

    thing: Thing
    pose: Pose
    x: float
    z: float
    depth: float
    lateral: float


def place(layout: Layout, camera: Camera, things: list[Thing], time: float,
          z: float) -> list[Placed]:
    """Find the things near a place along the street at a moment in seconds."""
    near: list[Thing] = []
    states: list[tuple[float, ...]] = []
    for thing in things:
        state = tuple(float(value) for value in thing.path.at(time))
        if z - BEHIND < state[1] < z + VIEW:
            near.append(thing)
            states.append(state)
    x, along = np.array([state[:2] for state in states]).reshape(-1, 2).T
    feet = layout.world(x, 0.0, along)
    seen = camera.to_camera(feet)
    headings = layout.heading(along)
    reach = 0.5 * camera.size[1] / camera.focal
    placed = []
    for index, thing in enumerate(near):
        lateral, _, depth = seen[index].tolist()
        if depth < -BEHIND or abs(lateral) > reach * max(0.0, depth) + _MARGIN:
            continue
        pose = Pose(feet[index], float(headings[index]) + pi * thing.reversed, time,
                    states[index][2:4])
        placed.append(Placed(thing, pose, states[index][0], states[index][1], depth, lateral))
    return placed


def paint_scene(painter: Painter, layout: Layout, blocks: list[Block], placed: list[Placed],
                z: float) -> NDArray[np.float32]:
    """
    Paint everything.

    Returns:
        float32 [H, W], the gain of the ground's texture, 1 above the horizon.

    """
    sky.paint_sky(painter)
    sky.paint_backdrop(painter, layout.seed)
    ground.paint_ground(painter, layout, blocks, z)
    gain = _shade_ground(painter, blocks, placed, z)
    orders: list[tuple[float, int, float]] = []
    paints: list[Callable[[], None]] = []
    for block in blocks:
        for stuff in block.stuff:
            if stuff.key > z:
                orders.append((-stuff.key, stuff.rank, -stuff.near))
                paints.append(lambda stuff=stuff: stuff.paint(painter))  # type: ignore[misc]
    for item in placed:
        near = item.z - item.thing.size[2] / 2
        orders.append((-near, 4 + item.thing.order, -item.z))
        paints.append(lambda item=item: _paint_thing(painter, item))  # type: ignore[misc]
    for index in sorted(range(len(orders)), key=orders.__getitem__):
        paints[index]()
    return gain


def _paint_thing(painter: Painter, item: Placed) -> None:
    """Paint a thing under its instance id."""
    entity = painter.entity(item.thing.label, max(0.5, item.depth), item.thing.instance_id)
    item.thing.paint(painter, item.pose, entity)


def _shade_ground(painter: Painter, blocks: list[Block], placed: list[Placed],
                  z: float) -> NDArray[np.float32]:
    """Multiply texture and shadows into the ground; returns the gain."""
    outlines: list[Points] = []
    if painter.conditions.shadow:
        outlines = [stuff.shadow for block in blocks[:6] for stuff in block.stuff
                    if stuff.key > z]
        outlines += [_upright_outline(item) for item in placed if item.depth < 60]
    shadows = ground.shadow_mask(painter, outlines)
    soft = np.zeros_like(shadows)
    for item in placed:
        if 1.0 < item.depth < 70 and item.thing.motion != 'fixed':
            ground.darken_below(painter, soft, item.pose, item.thing.size)
    soft = as_image(cv2.GaussianBlur(soft, (5, 5), 0))
    gain = ground.ground_gain(painter, shadows, soft)
    top = int(np.clip(painter.camera.horizon - 6, 0, len(gain) - 2))
    region = painter.image[top:]
    part = gain[top:]
    region[:] = cv2.multiply(region, cv2.merge([part, part, part]), dtype=cv2.CV_8U)
    return gain


def _upright_outline(item: Placed) -> Points:
    """Return an upright rectangle as large as a thing, facing the sun well enough."""
    width, height, length = item.thing.size
    if item.thing.motion == 'fixed':
        width = length  # of posts with an arm or a plate, the post alone
    forward = np.array([np.sin(item.pose.heading), 0.0, np.cos(item.pose.heading)])
    right = np.array([forward[2], 0.0, -forward[0]])
    reach = forward * length / 2 + right * width / 2
    up = np.array([0.0, height, 0.0])
    foot = item.pose.foot
    return np.stack([foot - reach, foot + reach, foot + reach + up, foot - reach + up])


def develop(painter: Painter, gain: NDArray[np.float32], frame: int,
            seed: int) -> NDArray[np.uint8]:
    """Turn the painted scene into the camera's picture, uint8 [H, W, 3]."""
    conditions, image, horizon = painter.conditions, painter.image, painter.camera.horizon
    rng = stream(seed, 101, frame)
    labels, _, depths = painter.tables
    if conditions.weather in ('rain', 'snow'):
        on_ground = np.isin(labels, _GROUND_LABELS) & (depths == 0)
        mask = on_ground[painter.entities]
        if conditions.weather == 'rain':
            lens.wet_ground(image, mask, horizon)
        else:
            mask |= ((labels == 8) & (depths == 0))[painter.entities]
            lens.snowy_ground(image, mask, gain)
    depth = depths[painter.entities]
    flat = ground.ground_depth(painter)
    depth = np.where(depth == 0, flat[:, None], depth)
    lens.add_haze(image, depth, conditions)
    lens.add_glow(image, painter.visible_lamps(), conditions)
    if conditions.weather in ('rain', 'snow'):
        lens.falling(image, conditions.weather, rng)
    return lens.expose(image, conditions, rng)

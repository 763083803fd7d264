"""
Road, sidewalks, lots, side streets and markings, with textures that stay with the world.

Flat colours and labels are painted first, as strips that follow the bend. Then one gain for every
ground pixel is made from tiles of asphalt, paving and stains laid into the ground plane, from
cast shadows and, at night, from the headlights, and multiplied into the picture.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street import textures
from vseg_ros.io.street.blocks import Block
from vseg_ros.io.street.camera import Points, clip_near, pixels
from vseg_ros.io.street.layout import BLOCK, CROSS_STREET, KERB, Layout
from vseg_ros.io.street.painter import Painter, fixed_point
from vseg_ros.io.street.things import Pose

_ROAD, _SIDEWALK, _VEGETATION = 0, 1, 8
_AHEAD = np.concatenate([[0.0], np.geomspace(0.6, 420, 44)])
Gain = NDArray[np.float32]


def paint_ground(painter: Painter, layout: Layout, blocks: Iterable[Block], z: float) -> None:
    """Paint the ground as seen from a place along the street."""
    light = painter.light(np.array([0.0, 1.0, 0.0]))
    colors = {name: np.array(color) * light for name, color in layout.colors.items()}
    road = painter.entity(_ROAD, 0)
    sidewalk = painter.entity(_SIDEWALK, 0)
    grass = painter.entity(_VEGETATION, 0)
    entities = {'road': road, 'sidewalk': sidewalk, 'grass': grass}
    along = z + _AHEAD
    _plain(painter, colors['grass'] * 0.85, grass)
    blocks = list(blocks)
    for block in blocks:
        for kind, x0, x1, z0, z1 in block.lots:
            if z1 > z:
                painter.polygon(_quad(layout, x0, x1, max(z0, z + 1), z1), colors[kind],
                                entities[kind])
    left, right = layout.edges
    for side, edge in ((-1, left), (1, right)):
        _strip(painter, layout, along, (edge, KERB), (edge + side * layout.pavement(side), KERB),
               colors['sidewalk'], sidewalk)
    _strip(painter, layout, along, (left, 0), (right, 0), colors['road'], road)
    for edge in (left, right):
        _strip(painter, layout, along, (edge, 0), (edge, KERB), colors['kerb'] * 0.8, sidewalk)
        outer = edge + np.sign(edge) * 0.16
        _strip(painter, layout, along, (edge, KERB), (outer, KERB), colors['kerb'], None)
    for block in blocks:
        if block.cross and block.start + CROSS_STREET > z:
            edge = block.side * (layout.kerb(block.side) - 0.1)
            painter.polygon(_quad(layout, edge, block.side * 70.0, max(block.start, z + 1),
                                  block.start + CROSS_STREET), colors['road'], road)
    _markings(painter, layout, blocks, z, colors['paint'], colors['yellow'])


def _plain(painter: Painter, color: Points, entity: int) -> None:
    """Fill everything below the horizon."""
    camera = painter.camera
    height, width = camera.size
    slope = camera.rotation[0, 1] / camera.rotation[1, 1]
    left, right = (camera.horizon - slope * (column - camera.center[0])
                   for column in (-10.0, width + 10.0))
    outline = np.array([(-10.0, left), (width + 10.0, right), (width + 10.0, height + 10.0),
                        (-10.0, height + 10.0)])
    painter.fill(fixed_point(outline), color.tolist(), entity)


def _quad(layout: Layout, x0: float, x1: float, z0: float, z1: float) -> Points:
    """Return a patch of ground, [4, 3]."""
    return layout.world(np.array([x0, x1, x1, x0]), 0.0, np.array([z0, z0, z1, z1]))


def _strip(painter: Painter, layout: Layout, along: NDArray[np.float64],
           first: tuple[float, float], second: tuple[float, float], color: Points,
           entity: int | None) -> None:
    """Fill the strip between two lines along the street, each given by its x and y."""
    points = np.concatenate([layout.world(*first, along), layout.world(*second, along)[::-1]])
    painter.polygon(points, color, entity, convex=False)


def _markings(painter: Painter, layout: Layout, blocks: list[Block], z: float, white: Points,
              yellow: Points) -> None:
    """Paint lane lines, lines at the kerb, zebra crossings and stop lines."""
    style = layout.seed % 5
    near, far = z, z + 75.0
    along = z + _AHEAD[_AHEAD < 90]

    def dashes(x: float, length: float, period: float, width: float) -> None:
        starts = np.arange(np.floor(near / period) * period, far, period)
        starts = starts[starts + length > z]
        _patches(painter, layout, x + np.array([-width, width]) / 2,
                 np.stack([np.maximum(starts, z), starts + length]), white)

    if style == 0:
        for x in (-0.12, 0.12):
            _strip(painter, layout, along, (x - 0.05, 0), (x + 0.05, 0), white, None)
    elif style < 4:
        dashes(0.0, (2.0, 4.0, 3.0)[style - 1], (6.0, 6.0, 9.0)[style - 1], 0.13)
    for index in range(1, layout.lanes):
        for sign in (-1, 1):
            dashes(sign * index * layout.lane, 1.5, 6.0, 0.1)
    if layout.seed % 3:
        color = yellow if layout.seed % 3 == 1 else white
        for edge in layout.edges:
            offsets = (0.25, 0.42) if layout.seed % 2 else (0.3,)
            for offset in offsets:
                x = edge - np.sign(edge) * offset
                _strip(painter, layout, along, (x - 0.05, 0), (x + 0.05, 0), color, None)
    for block in blocks:
        if block.zebra and block.side > 0:
            _crossing(painter, layout, block, z, white)


def _patches(painter: Painter, layout: Layout, x: Points, z: Points, color: Points) -> None:
    """Paint patches between pairs of x and z, each [2] or [2, N]."""
    x, z = np.broadcast_arrays(*(pair.reshape(2, -1) for pair in (x, z)))
    across = np.stack([x[0], x[1], x[1], x[0]], axis=1).ravel()
    along = np.stack([z[0], z[0], z[1], z[1]], axis=1).ravel()
    points = painter.camera.to_image(layout.world(across, 0.0, along))
    count = x.shape[1]
    if count:
        painter.polygons(points, range(4, 4 * count + 1, 4), np.tile(color, (count, 1)), None)


def _crossing(painter: Painter, layout: Layout, block: Block, z: float, white: Points) -> None:
    """Paint a zebra crossing and its stop line."""
    start = block.start + (CROSS_STREET if block.cross else 0.0) + 1.6
    if start < z or start > z + BLOCK * 1.6:
        return
    left, right = layout.edges
    bars = np.arange(left + 0.4, right - 0.6, 1.1)
    _patches(painter, layout, np.stack([bars, bars + 0.55]), np.array([start, start + 2.6]), white)
    ends = (0.1, right - 0.3) if layout.keep > 0 else (left + 0.3, -0.1)
    painter.polygon(_quad(layout, *ends, start - 1.6, start - 1.3), white, None)


def _tile(painter: Painter, tile: NDArray[np.uint8], extent: float, top: int) -> Gain:
    """
    Lay a texture into the ground plane.

    Args:
        painter: the picture in the making.
        tile: uint8 [S, S], the texture three times in both directions.
        extent: metres after which it repeats.
        top: first row that is wanted.

    Returns:
        float32 [H - top, W], the deviation from 1.

    """
    camera = painter.camera
    across, _, along = np.floor(camera.position / extent)
    corner = np.array([across - 1, 0.0, along]) * extent
    step = 3 * extent / tile.shape[0]
    matrix = camera.plane_to_image(corner, np.array([step, 0, 0]), np.array([0, 0, step]))
    matrix = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]]) @ matrix
    height, width = camera.size
    seen = cv2.warpPerspective(tile, np.linalg.inv(matrix), (width, height - top),
                               flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                               borderMode=cv2.BORDER_CONSTANT, borderValue=128)
    deviation: Gain = seen.astype(np.float32) * np.float32(1 / 128) - 1
    return deviation


def ground_depth(painter: Painter) -> NDArray[np.float32]:
    """Return the ground's distance along the view at every row, float32 [H]; far above it."""
    camera = painter.camera
    below = np.maximum(np.arange(camera.size[0]) - camera.horizon, 0.4)
    depth: NDArray[np.float32] = (camera.position[1] * camera.focal / below).astype(np.float32)
    return depth


def shadow_mask(painter: Painter, outlines: Iterable[Points]) -> NDArray[np.uint8]:
    """Cast outlines, world points [N, 3] each, along the sun onto the ground; 255 in shadow."""
    mask = np.zeros(painter.camera.size, np.uint8)
    sun = painter.conditions.sun_direction
    reach = -sun / sun[1]
    for outline in outlines:
        flat = outline + outline[:, 1:2] * reach
        points = clip_near(painter.camera.to_image(flat))
        if len(points) >= 3:
            cv2.fillPoly(mask, [fixed_point(pixels(points))], 255, cv2.LINE_8, 4)
    return textures.as_image(cv2.blur(mask, (3, 3)))


def ground_gain(painter: Painter, shadows: NDArray[np.uint8], soft: NDArray[np.uint8]) -> Gain:
    """
    Make the ground's gain.

    Args:
        painter: the picture, with the ground painted and nothing else yet.
        shadows: uint8 [H, W], 255 in the sun's shadows.
        soft: uint8 [H, W], darkness right below things.

    Returns:
        float32 [H, W], 1 above the horizon.

    """
    height, width = painter.camera.size
    gain = np.ones((height, width), np.float32)
    top = int(np.clip(painter.camera.horizon - 6, 0, height - 2))
    depth = ground_depth(painter)[top:, None]
    sharp = np.clip(1.1 - depth / 28, 0, 1)
    fine = _tile(painter, textures.asphalt(), textures.GROUND_TILE, top)
    slabs = _tile(painter, textures.paving(), textures.GROUND_TILE, top)
    labels = painter.tables[0][painter.entities[top:]]
    fine = (np.where(labels == _SIDEWALK, slabs, fine) * sharp).astype(np.float32)
    fine[labels == _VEGETATION] *= 2.5
    coarse = _tile(painter, textures.coarse_ground(), textures.COARSE_TILE, top)
    gain[top:] += fine + coarse * np.clip(1.1 - depth / 120, 0, 1)
    conditions = painter.conditions
    if conditions.shadow:
        gain *= 1 - shadows * np.float32(conditions.shadow / 255)
    gain *= 1 - soft * np.float32(0.75 / 255)
    if conditions.lighting == 'night':
        columns = (np.arange(width) - painter.camera.center[0])[None] / width
        beam = np.exp(-(columns / 0.28) ** 2) * np.exp(-((np.log(depth) - 2.2) / 0.7) ** 2)
        gain[top:] *= (1 + 2.2 * beam).astype(np.float32)
    return np.maximum(gain, 0.05)


def darken_below(painter: Painter, soft: NDArray[np.uint8], pose: Pose,
                 size: tuple[float, float, float]) -> None:
    """Mark the ground below a thing of a size (width, height, length) as dark, in place."""
    forward = np.array([np.sin(pose.heading), 0.0, np.cos(pose.heading)])
    right = np.array([forward[2], 0.0, -forward[0]])
    ahead, aside = forward * (size[2] / 2 + 0.15), right * (size[0] / 2 + 0.1)
    corners = pose.foot + np.stack([-ahead - aside, -ahead + aside, ahead + aside, ahead - aside])
    points = clip_near(painter.camera.to_image(corners))
    if len(points) >= 3:
        cv2.fillConvexPoly(soft, fixed_point(pixels(points)), 255, cv2.LINE_8, 4)

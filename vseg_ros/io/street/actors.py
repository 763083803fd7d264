"""Vehicles, riders and people as things with a path and a way to paint them."""

from __future__ import annotations

import numpy as np

from vseg_ros.io.street.camera import Points
from vseg_ros.io.street.layout import KERB
from vseg_ros.io.street.mesh import paint_mesh
from vseg_ros.io.street.painter import Painter
from vseg_ros.io.street.people import (
    Outfit,
    bicycle,
    draw_outfit,
    motorcycle,
    paint_limbs,
    riding_limbs,
    walking_limbs,
)
from vseg_ros.io.street.things import Crossing, Path, Pose, Steady, Thing
from vseg_ros.io.street.vehicles import VehicleModel, paint_colors, vehicle_models

_PERSON, _RIDER, _CAR, _TRUCK_BUS, _MOTORCYCLE = 10, 11, 12, 13, 14
_SMALL = ('hatchback', 'saloon', 'estate', 'off-roader', 'van', 'people carrier')
_SMALL_ODDS = (0.34, 0.2, 0.14, 0.12, 0.12, 0.08)
_LARGE = ('bus', 'double-decker', 'truck', 'box truck')


def vehicle(rng: np.random.Generator, instance: int, rider_instance: int | None, path: Path,
            motion: str, reverse: bool, motorcycles: float, large: float) -> list[Thing]:
    """
    Draw a vehicle.

    Args:
        rng: its random stream.
        instance: its instance id.
        rider_instance: instance id of a motorcycle's rider, None to leave it without one.
        path: where it goes.
        motion: 'traffic' or 'parked'.
        reverse: whether it faces against the street's direction.
        motorcycles: odds of a motorcycle.
        large: odds of a truck or bus.

    Returns:
        The vehicle and, on a motorcycle, its rider.

    """
    draw = rng.random()
    if draw < motorcycles:
        return _motorcycle(rng, instance, rider_instance, path, motion, reverse)
    kind = str(rng.choice(_LARGE) if draw < motorcycles + large
               else rng.choice(_SMALL, p=_SMALL_ODDS))
    model = vehicle_models()[kind]
    color, colors = paint_colors(rng)
    if kind == 'double-decker' and rng.random() < 0.6:
        color, colors['paint'] = 'red', (160.0, 26.0, 30.0)
    scale = 1 + rng.normal(0, 0.03, 3)

    albedos = [mesh.albedo(colors) for _, mesh in model.bodies]

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        _paint_bodies(painter, model, pose, scale, albedos, entity)

    size = tuple(float(value) for value in np.array(model.size) * scale)
    return [Thing(instance, _TRUCK_BUS if model.large else _CAR, kind, color,
                  (size[0], size[1], size[2]), path, paint, motion, reverse)]


def _paint_bodies(painter: Painter, model: VehicleModel, pose: Pose,
                  scale: Points, albedos: list[Points], entity: int) -> None:
    """Paint a vehicle's bodies, the farther one first."""
    forward = np.array([np.sin(pose.heading), 0.0, np.cos(pose.heading)])
    away = float(forward @ painter.camera.rotation[2])
    for index in sorted(range(len(albedos)), key=lambda index: -model.bodies[index][0] * away):
        paint_mesh(painter, model.bodies[index][1], pose.foot, pose.heading, scale,
                   albedos[index], entity)


def _motorcycle(rng: np.random.Generator, instance: int, rider_instance: int | None, path: Path,
                motion: str, reverse: bool) -> list[Thing]:
    """Draw a motorcycle, with its rider if that has an id."""
    color, colors = paint_colors(rng)
    scale = np.ones(3) * rng.uniform(0.95, 1.12)
    albedo = motorcycle().albedo(colors)

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        paint_mesh(painter, motorcycle(), pose.foot, pose.heading, scale, albedo, entity)

    made = [Thing(instance, _MOTORCYCLE, 'motorcycle', color, (0.8, 1.15, 2.1), path, paint,
                  motion, reverse)]
    if rider_instance is not None:
        outfit, height = draw_outfit(rng), rng.uniform(1.65, 1.9)

        def paint_rider(painter: Painter, pose: Pose, entity: int) -> None:
            limbs = riding_limbs(outfit, height, 0.0, 0.82, reverse)
            paint_limbs(painter, limbs, pose.foot, entity)

        made.append(Thing(rider_instance, _RIDER, 'motorcyclist', outfit.name,
                          (0.6, 1.6, 0.6), path, paint_rider, motion, reverse, order=1))
    return made


def cyclist(rng: np.random.Generator, instance: int, path: Steady, reverse: bool) -> Thing:
    """Draw a bicycle with its rider, one thing of class rider."""
    outfit, height = draw_outfit(rng), rng.uniform(1.6, 1.85)
    _, colors = paint_colors(rng)
    scale = np.ones(3) * rng.uniform(0.95, 1.05)
    albedo = bicycle().albedo(colors)
    cadence, phase = abs(path.speed) * 1.3, rng.uniform(0, 6.3)

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        paint_mesh(painter, bicycle(), pose.foot, pose.heading, scale, albedo, entity)
        limbs = riding_limbs(outfit, height, phase + cadence * pose.time, 0.92, reverse)
        paint_limbs(painter, limbs, pose.foot, entity)

    return Thing(instance, _RIDER, 'cyclist', outfit.name, (0.6, 1.75, 1.7), path, paint,
                 'traffic', reverse)


def person(rng: np.random.Generator, instance: int, path: Steady | Crossing) -> Thing:
    """Draw someone on foot."""
    outfit, height = draw_outfit(rng), rng.normal(1.7, 0.09)
    phase = rng.uniform(0, 6.3)

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        _paint_walker(painter, pose, outfit, height, phase, entity)

    return Thing(instance, _PERSON, 'pedestrian', outfit.name, (0.5, float(height), 0.3), path,
                 paint, 'foot')


def _paint_walker(painter: Painter, pose: Pose, outfit: Outfit, height: float, phase: float,
                  entity: int) -> None:
    """Paint someone on foot in the pose of the moment."""
    across, along = pose.velocity
    speed = float(np.hypot(across, along))
    sideways = abs(across) > abs(along)
    limbs = walking_limbs(outfit, height, phase + pose.time * 1.9 * np.pi, min(1.0, speed),
                          sideways)
    paint_limbs(painter, limbs, pose.foot + (0.0, 0.0 if sideways else KERB, 0.0), entity)

"""The synthetic street as a sequence of labelled frames."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot

import numpy as np
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.io.street.attributes import StreetFrame
from vseg_ros.io.street.blocks import Block, draw_block
from vseg_ros.io.street.camera import Camera, Points
from vseg_ros.io.street.conditions import LIGHTINGS, WEATHERS, draw_conditions
from vseg_ros.io.street.describe import describe
from vseg_ros.io.street.layout import BLOCK, draw_layout, stream
from vseg_ros.io.street.motion import EgoMotion
from vseg_ros.io.street.painter import Painter
from vseg_ros.io.street.scene import BEHIND, VIEW, develop, paint_scene, place
from vseg_ros.io.street.things import Thing
from vseg_ros.io.street.traffic import Traffic
from vseg_ros.labels import DRIVING

Array = NDArray[np.float64]
_VIEW_BLOCKS = 5  # blocks of buildings and trees ahead
_LEEWAY = 0.5  # metres by which a leaning or swinging part may reach beyond a thing's size


class SyntheticStreet:
    """
    A seeded video of a drive through a street, with exact labels.

    Frame `i` depends on the arguments and `i` alone, so frames can be taken in any order; the
    number of frames changes none of them. Weather and lighting change pixels, never labels.

    Args:
        seed: of street, traffic, drive and look, >= 0.
        frames: number of frames, >= 1.
        size: height and width in pixels, each 32 to 4096.
        fps: frames a second, > 0.
        weather: one of 'clear', 'overcast', 'fog', 'rain', 'snow'; None draws it from the seed.
        lighting: one of 'day', 'dusk', 'night'; None draws it from the seed.

    Raises:
        UserError: an argument is out of range; the line says which and what is allowed.

    """

    label_set = DRIVING

    def __init__(self, seed: int = 0, frames: int = 120, size: tuple[int, int] = (360, 480),
                 fps: float = 15.0, weather: str | None = None,
                 lighting: str | None = None) -> None:
        _check(seed, frames, size, fps, weather, lighting)
        self.seed, self.frames, self.size, self.fps = seed, frames, (size[0], size[1]), fps
        self.conditions = draw_conditions(stream(seed, 100), weather, lighting)
        self._layout = draw_layout(seed)
        rng = stream(seed, 9)
        cruise = float(rng.uniform(5.0, 13.5))
        self._ego = EgoMotion(stream(seed, 10), cruise)
        self._traffic = Traffic(self._layout, self._ego, cruise)
        self._height = rng.uniform(1.15, 1.75)
        self._focal = rng.uniform(0.85, 1.25)
        self._aim = (rng.normal(0, 0.03), rng.normal(0.02, 0.03), rng.normal(0, 0.006))
        self._sway = rng.uniform(0.3, 1.0, 6) * (0.012, 0.006, 0.003, 0.08, 0.012, 0.004)
        self._beat = rng.uniform(0.6, 1.4, 6) * (0.5, 3.2, 1.1, 0.45, 7.5, 2.1)
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._blocks: dict[tuple[int, int], Block] = {}
        self._appeared: dict[int, int] = {}

    def __len__(self) -> int:
        """Count the frames."""
        return self.frames

    def __iter__(self) -> Iterator[StreetFrame]:
        """Go through the frames in order; every pass gives the same."""
        return (self[index] for index in range(self.frames))

    def __getitem__(self, index: int) -> StreetFrame:
        """
        Paint one frame.

        Args:
            index: 0 to `len(self) - 1`, or negative to count from the end.

        Raises:
            IndexError: there is no such frame.

        """
        if not -self.frames <= index < self.frames:
            raise IndexError(f'frame {index} of a video of {self.frames} frames')
        index %= self.frames
        time = index / self.fps
        z = float(self._ego.position(np.array([time]))[0])
        blocks = self._nearby(z)
        things = [thing for block in blocks if block.start < z + VIEW for thing in block.things]
        things += self._traffic.near(time, z - BEHIND, z + VIEW)
        painter = Painter(self._camera(time), self.conditions)
        placed = place(self._layout, painter.camera, things, time, z)
        gain = paint_scene(painter, self._layout, blocks, placed, z)
        labels, instances, _ = painter.tables
        image = develop(painter, gain, index, self.seed)
        maps = labels[painter.entities], instances[painter.entities]
        attributes = describe(self._layout, placed, painter, self._appeared_at)
        return StreetFrame(Frame(image, round(time * 1e9), 'camera'), *maps, attributes)

    def _poses(self, time: Array) -> tuple[Points, Array]:
        """Return the camera's position, [N, 3], and yaw, pitch and roll, [3, N], over time."""
        z = self._ego.position(time)
        sway = self._sway[:, None] * np.sin(self._beat[:, None] * time + self._phase[:, None])
        rolling = np.minimum(1.0, self._ego.speed(time) / 4.0)
        position = self._layout.world(self._layout.ego_x + sway[3] * 2,
                                      self._height + sway[4] * rolling * 0.3, z)
        yaw = self._layout.heading(z + 2.0) + self._aim[0] + sway[0] * rolling
        pitch = self._aim[1] + sway[1] * rolling
        return position, np.stack([yaw, pitch, self._aim[2] + sway[2] * rolling])

    def _camera(self, time: float) -> Camera:
        """Return the camera at a moment."""
        position, angles = self._poses(np.array([time]))
        return Camera.aimed(position[0], (angles[0, 0], angles[1, 0], angles[2, 0]),
                            self._focal * self.size[1], self.size)

    def _nearby(self, z: float) -> list[Block]:
        """Return both sides of the blocks ahead, nearest first."""
        first = int(np.floor((z - BEHIND) / BLOCK))
        blocks = []
        for number in range(first, first + _VIEW_BLOCKS):
            for side in (-1, 1):
                key = (number, side)
                if key not in self._blocks:
                    self._blocks[key] = draw_block(self._layout, self._ego, number, side)
                blocks.append(self._blocks[key])
        return blocks

    def _appeared_at(self, thing: Thing) -> int:
        """Return the first frame in which any part of a thing may be in the picture."""
        instance = thing.instance_id
        if instance not in self._appeared:
            seen = self._in_view(thing, np.arange(self.frames) / self.fps)
            self._appeared[instance] = int(np.argmax(seen))
        return self._appeared[instance]

    def _in_view(self, thing: Thing, time: Array) -> NDArray[np.bool_]:
        """Tell at which moments some part of a thing stands in the view and near enough."""
        x, along = (np.asarray(value) for value in thing.path.at(time)[:2])
        position, angles = self._poses(time)
        offset = self._layout.world(x, 0.0, along) - position
        sine, cosine = np.sin(angles[0]), np.cos(angles[0])
        radius = hypot(thing.size[0], thing.size[2]) / 2 + _LEEWAY
        depth = np.maximum(0.0, offset[:, 0] * sine + offset[:, 2] * cosine + radius)
        lateral = np.abs(offset[:, 0] * cosine - offset[:, 2] * sine) - radius
        ahead = along - self._ego.position(time)
        seen: NDArray[np.bool_] = ((lateral < depth * 0.5 / self._focal) & (depth > 0)
                                   & (ahead > -BEHIND) & (ahead < VIEW))
        return seen


def _check(seed: int, frames: int, size: tuple[int, int], fps: float, weather: str | None,
           lighting: str | None) -> None:
    """Raise `UserError` for arguments out of range."""
    if seed < 0:
        raise UserError(f'the seed of a synthetic street is {seed}: choose 0 or more')
    if frames < 1:
        raise UserError(f'a synthetic street of {frames} frames: choose at least 1')
    if len(size) != 2 or not all(32 <= side <= 4096 for side in size):
        raise UserError(f'the size of a synthetic street is {tuple(size)}: give height and width, '
                        'each from 32 to 4096 pixels')
    if not 0 < fps <= 1000:
        raise UserError(f'{fps} frames a second: choose more than 0 and at most 1000')
    for name, value, allowed in (('weather', weather, WEATHERS),
                                 ('lighting', lighting, LIGHTINGS)):
        if value is not None and value not in allowed:
            raise UserError(f'{name} {value!r} is unknown: choose one of {", ".join(allowed)}')

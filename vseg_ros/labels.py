"""
Class names, colours and the maps between sets of classes.

`DRIVING` are the 15 classes that the shipped models speak (Time2General, Table 8). `CAMVID11`
are the ids of the SegNet tutorial's CamVid labels, and `CAMVID11_TO_DRIVING` turns them into
driving ids. The tables `CAMVID32_TO_DRIVING`, `CITYSCAPES_TO_DRIVING` and so on do the same for
the ids of other data sets' label files. Any other checkpoint brings its own `LabelSet`
(`LabelSet.from_names`). Names of other published classes are in `class_names.py`, what they mean
in each other's terms in `class_maps.py`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

OVERLAY_OPACITY = 0.55
"""Weight of a label's colour where it is laid over an image, 0..1."""


@dataclass(frozen=True)
class LabelSet:
    """
    The classes of a model or data set.

    Attributes:
        names: one name an id, in order of id.
        palette: one RGB colour (0..255 each) an id.
        ignore_id: id of an unlabelled pixel, which no class may have.

    Raises:
        ValueError: no class at all, a colour missing, or an ignore id that is a class.

    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    ignore_id: int = 255

    def __post_init__(self) -> None:
        """Check that names and colours pair up."""
        if not self.names or len(self.names) != len(self.palette):
            raise ValueError(f'{len(self.names)} class names need as many colours, not '
                             f'{len(self.palette)}')
        if not len(self.names) <= self.ignore_id <= 65535:
            raise ValueError(f'the ignore id {self.ignore_id} must lie between the classes, '
                             f'{len(self.names)} of them, and 65535')

    @classmethod
    def from_names(cls, names: Sequence[str]) -> LabelSet:
        """
        Make a set for a checkpoint's class names.

        A name that the driving classes know keeps its colour; the others get well separated
        hues. The ignore id is 255, or 65535 for more than 255 classes.
        """
        known = dict(zip(DRIVING_NAMES, DRIVING_PALETTE, strict=True))
        palette = tuple(known.get(name, _spread_color(i)) for i, name in enumerate(names))
        return cls(tuple(names), palette, 255 if len(names) <= 255 else 65535)

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.names)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """NumPy type that holds every id and the ignore id."""
        return np.uint8 if self.ignore_id <= 255 else np.uint16

    def colorize(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """
        Paint a label map.

        Args:
            labels: integer [H, W]; ids outside the set (ignored pixels) become black.

        Returns:
            uint8 [H, W, 3], RGB.

        """
        table = np.zeros((int(np.iinfo(self.dtype).max) + 1, 3), np.uint8)
        table[:len(self.palette)] = self.palette
        if not np.can_cast(labels.dtype, self.dtype):
            labels = np.where(self._known(labels), labels, self.ignore_id)
        if labels.dtype == np.uint8 and len(table) == 256:
            # several times as fast as indexing
            grey = np.ascontiguousarray(labels)
            return np.asarray(cv2.LUT(cv2.merge((grey, grey, grey)), table[None]), np.uint8)
        painted: NDArray[np.uint8] = table[labels]
        return painted

    def overlay(self, image: NDArray[np.uint8], labels: NDArray[np.integer],
                opacity: float = OVERLAY_OPACITY) -> NDArray[np.uint8]:
        """
        Lay the painted labels over an image.

        Args:
            image: uint8 [H, W, 3], RGB.
            labels: integer [H, W]; unlabelled pixels show the image alone.
            opacity: weight of the labels' colour, 0..1.

        Returns:
            uint8 [H, W, 3], RGB.

        """
        mixed = cv2.addWeighted(image, 1 - opacity, self.colorize(labels), opacity, 0)
        known = self._known(labels)
        if known.all():
            return np.asarray(mixed, np.uint8)
        return np.asarray(cv2.copyTo(mixed, known.view(np.uint8), image.copy()), np.uint8)

    def _known(self, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = labels < len(self.names)
        return known if labels.dtype.kind == 'u' else known & (labels >= 0)


def _spread_color(index: int) -> Color:
    """Return a saturated colour; neighbours in `index` are a golden angle of hue apart."""
    hue = (index * 0.618034) % 1.0
    value = 0.95 - 0.2 * (index % 3)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.2 * (index % 2), value)
    return round(red * 255), round(green * 255), round(blue * 255)


def label_table(mapping: Mapping[int, int], ignore_id: int = 255) -> NDArray[np.uint8]:
    """
    Turn an id map into a look-up table.

    Args:
        mapping: source id -> target id.
        ignore_id: target of every source id that `mapping` does not name.

    Returns:
        uint8 [256]; `table[labels]` relabels a uint8 map.

    """
    table = np.full(256, ignore_id, np.uint8)
    for source, target in mapping.items():
        table[source] = target
    return table


def ids_of_colors(image: NDArray[np.uint8], palette: Sequence[Color],
                  ignore_id: int = 255) -> NDArray[np.uint8]:
    """
    Turn a painted label map into ids.

    Args:
        image: uint8 [H, W, 3], RGB.
        palette: one colour an id, in order of id; at most 255, none twice.
        ignore_id: id of a pixel whose colour is not in the palette, 0..255.

    Returns:
        uint8 [H, W].

    """
    codes = _color_codes(np.asarray(palette, np.uint8))
    order = np.argsort(codes)
    pixels = _color_codes(image)
    place = np.searchsorted(codes, pixels, sorter=order).clip(max=len(codes) - 1)
    ids: NDArray[np.uint8] = order.astype(np.uint8)[place]
    ids[codes[ids] != pixels] = ignore_id
    return ids


def _color_codes(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pack uint8 [..., 3] into one number a colour."""
    red, green, blue = np.moveaxis(colors.astype(np.uint32), -1, 0)
    codes: NDArray[np.uint32] = red << 16 | green << 8 | blue
    return codes


DRIVING_NAMES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'sky', 'person', 'rider', 'car', 'truck_bus', 'motorcycle')
DRIVING_PALETTE: tuple[Color, ...] = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
    (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (70, 130, 180),
    (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 60, 100), (0, 0, 230))
DRIVING = LabelSet(DRIVING_NAMES, DRIVING_PALETTE)

CAMVID11_NAMES = (
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign/symbol', 'fence', 'car',
    'pedestrian', 'bicyclist')
CAMVID11_TO_DRIVING = {0: 9, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 12, 9: 10, 10: 11}

# In the order of label_colors.txt, the file that names the colours of CamVid's label images.
CAMVID32_NAMES = (
    'Animal', 'Archway', 'Bicyclist', 'Bridge', 'Building', 'Car', 'CartLuggagePram', 'Child',
    'Column_Pole', 'Fence', 'LaneMkgsDriv', 'LaneMkgsNonDriv', 'Misc_Text', 'MotorcycleScooter',
    'OtherMoving', 'ParkingBlock', 'Pedestrian', 'Road', 'RoadShoulder', 'Sidewalk', 'SignSymbol',
    'Sky', 'SUVPickupTruck', 'TrafficCone', 'TrafficLight', 'Train', 'Tree', 'Truck_Bus',
    'Tunnel', 'VegetationMisc', 'Void', 'Wall')
CAMVID32_PALETTE: tuple[Color, ...] = (
    (64, 128, 64), (192, 0, 128), (0, 128, 192), (0, 128, 64), (128, 0, 0), (64, 0, 128),
    (64, 0, 192), (192, 128, 64), (192, 192, 128), (64, 64, 128), (128, 0, 192), (192, 0, 64),
    (128, 128, 64), (192, 0, 192), (128, 64, 64), (64, 192, 128), (64, 64, 0), (128, 64, 128),
    (128, 128, 192), (0, 0, 192), (192, 128, 128), (128, 128, 128), (64, 128, 192), (0, 0, 64),
    (0, 64, 64), (192, 64, 128), (128, 128, 0), (192, 128, 192), (64, 0, 64), (192, 192, 0),
    (0, 0, 0), (64, 192, 0))
# Time2General's Table 8 prints 30 for wall, which in label_colors.txt is Void: it counts the
# classes without Void. Reading 30 as wall would make walls of every unlabelled pixel.
CAMVID32_TO_DRIVING = {
    17: 0, 19: 1, 4: 2, 31: 3, 9: 4, 8: 5, 24: 6, 20: 7, 26: 8, 29: 8, 21: 9, 16: 10, 2: 11,
    5: 12, 27: 13, 13: 14}

# Cityscapes' trainIds, as Table 8 has them; what it leaves out: terrain, train, bicycle.
CITYSCAPES_TRAIN_TO_DRIVING = {
    0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 10: 9, 11: 10, 12: 11, 13: 12, 14: 13,
    15: 13, 17: 14}
# The ids in the files *_labelIds.png, and their trainIds.
CITYSCAPES_LABEL_TO_TRAIN = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
# KITTI-360 goes on after Cityscapes' ids; by its own trainIds a garage (34) is a building,
# a gate (35) a fence, a small pole (37) a pole.
KITTI360_LABEL_TO_TRAIN = {**CITYSCAPES_LABEL_TO_TRAIN, 34: 2, 35: 4, 37: 5}
CITYSCAPES_TO_DRIVING, KITTI360_TO_DRIVING = (
    {label: CITYSCAPES_TRAIN_TO_DRIVING[train] for label, train in ids.items()
     if train in CITYSCAPES_TRAIN_TO_DRIVING}
    for ids in (CITYSCAPES_LABEL_TO_TRAIN, KITTI360_LABEL_TO_TRAIN))

# ApolloScape's class ids; a group (161 and on: car, motorbicycle, person, rider, truck, bus)
# shares the train id, and so the class, of its members.
APOLLOSCAPE_TO_DRIVING = {
    49: 0, 50: 1, 97: 2, 84: 3, 67: 4, 82: 5, 81: 6, 83: 7, 113: 8, 17: 9, 36: 10, 164: 10,
    37: 11, 165: 11, 33: 12, 161: 12, 38: 13, 166: 13, 39: 13, 167: 13, 34: 14, 162: 14}

"""
Class maps: a segmenter that was trained on one data set, spoken and scored in classes of another.

A map names, for each target class, the segmenter's classes that mean it (the largest of their
logits counts, `models/class_groups.py`) and the classes of the labels that mean it. A segmenter's
class that no target names is never predicted, a labelled class that no target names is not scored
(DiTTA, supplement A4).

`vspw-cityscapes` is DiTTA's Table A1. The paper maps ADE20K to VSPW by overlapping classes and
prints no table; `ade20k-vspw` pairs what bears the same name, a synonym from ADE20K's own list, or
is a kind of it. A map of the form NAME (`cityscapes`) changes no class: it is for checkpoints and
labels that are to be compared in a data set's own classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.class_names import LABEL_SETS, plain_name
from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING_NAMES, LabelSet, label_table

Members = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ClassMap:
    """
    From a segmenter's classes, and from those of labels, to target classes.

    Attributes:
        name: what the setting `classes` calls it.
        source: the segmenter's data set, a key of `LABEL_SETS`.
        truth: label set that the labels are read in, a key of `LABEL_SETS`.
        target: the target classes.
        source_of: target class -> the segmenter's classes; one that is missing here is never
            predicted.
        truth_of: target class -> classes of the labels; one that is missing here is not scored.

    """

    name: str
    source: str
    truth: str
    target: LabelSet
    source_of: Members
    truth_of: Members

    def groups(self, names: Sequence[str]) -> list[list[int]]:
        """
        Find a segmenter's classes.

        Args:
            names: the segmenter's class names, in order of its logits.

        Returns:
            for each target class the ids of the segmenter's classes, maybe none.

        Raises:
            UserError: the segmenter lacks a class that the map names.

        """
        ids = {plain_name(name): index for index, name in enumerate(names)}
        wanted = [self.source_of.get(target, ()) for target in self.target.names]
        missing = [name for members in wanted for name in members if plain_name(name) not in ids]
        if missing:
            raise UserError(
                f'classes {self.name!r} is for segmenters with the {len(LABEL_SETS[self.source])} '
                f'classes of {self.source}, but this one has {len(names)} '
                f'({", ".join(names[:3])}, …) and no {missing[0]!r}: choose another segmenter, or '
                'other classes')
        return [[ids[plain_name(name)] for name in members] for members in wanted]

    def truth_table(self) -> NDArray[np.uint8]:
        """Return a table uint8 [256] from ids of the labels to target ids; the rest is ignored."""
        names = LABEL_SETS[self.truth].names
        return label_table({names.index(name): self.target.names.index(target)
                            for target, members in self.truth_of.items() for name in members},
                           self.target.ignore_id)


def find_class_map(name: str) -> ClassMap:
    """
    Return the class map of a name.

    Raises:
        UserError: there is none; the line lists those there are.

    """
    if name not in CLASS_MAPS:
        raise UserError(f'there is no class map {name!r}: choose one of {", ".join(CLASS_MAPS)}')
    return CLASS_MAPS[name]


def subset(label_set: LabelSet, names: Sequence[str]) -> LabelSet:
    """Take some classes of a set, with their colours, in the set's order."""
    kept = [index for index, name in enumerate(label_set.names) if name in names]
    return LabelSet(tuple(label_set.names[index] for index in kept),
                    tuple(label_set.palette[index] for index in kept), label_set.ignore_id)


def _unchanged(name: str) -> ClassMap:
    own = {each: (each,) for each in LABEL_SETS[name].names}
    return ClassMap(name, name, name, LABEL_SETS[name], own, own)


def _to_overlap(source: str, target: str, source_of: Members) -> ClassMap:
    """Map to the classes of `target` that `source` knows too."""
    return ClassMap(f'{source}-{target}', source, target,
                    subset(LABEL_SETS[target], list(source_of)), source_of,
                    _truth_of(target, source_of))


def _to_driving(source: str, source_of: Members) -> ClassMap:
    """Map to all driving classes, so that ids are those of every driving model."""
    return ClassMap(f'{source}-driving', source, 'driving', LABEL_SETS['driving'], source_of,
                    _truth_of('driving', source_of))


def _truth_of(target: str, source_of: Members) -> Members:
    """Score what the segmenter can predict; where it knows no rider, a rider is a person."""
    truth_of = {name: (name,) for name in source_of}
    if 'rider' in LABEL_SETS[target].names and 'rider' not in source_of:
        return truth_of | {'person': ('person', 'rider')}
    return truth_of


# DiTTA, Table A1; Cityscapes' traffic sign has no counterpart.
_VSPW_OF_CITYSCAPES: Members = {
    'road': ('road',),
    'sidewalk': ('path',),
    'building': ('building',),
    'wall': ('wall',),
    'fence': ('handrail_or_fence',),
    'pole': ('pole',),
    'traffic light': ('traffic_light',),
    'vegetation': ('wood', 'tree', 'flower', 'other_plant'),
    'terrain': ('grass',),
    'sky': ('sky',),
    'person': ('person',),
    'car': ('car',),
    'truck': ('truck',),
    'bus': ('bus',),
    'train': ('train',),
    'motorcycle': ('motorcycle',),
    'bicycle': ('bicycle',),
}

# VSPW's path is where people walk, as in Table A1, and so holds ADE20K's sidewalk too.
_ADE20K_OF_VSPW: Members = {
    'wall': ('wall',),
    'ceiling': ('ceiling',),
    'door': ('door', 'screen door'),
    'stair': ('stairs', 'stairway', 'step'),
    'escalator': ('escalator',),
    'handrail_or_fence': ('fence', 'railing', 'bannister'),
    'window': ('windowpane',),
    'pillar': ('column',),
    'pole': ('pole',),
    'floor': ('floor',),
    'ground': ('earth', 'land'),
    'grass': ('grass',),
    'sand': ('sand',),
    'road': ('road',),
    'path': ('path', 'sidewalk', 'dirt track'),
    'building': ('building', 'skyscraper'),
    'house': ('house', 'hovel'),
    'bridge': ('bridge',),
    'tower': ('tower',),
    'sky': ('sky',),
    'mountain': ('mountain', 'hill'),
    'stone': ('rock',),
    'grandstand': ('grandstand',),
    'sea': ('sea',),
    'river': ('river',),
    'lake': ('lake',),
    'waterfall': ('waterfall',),
    'water': ('water',),
    'billboard_or_Bulletin_Board': ('signboard', 'bulletin board'),
    'sculpture': ('sculpture',),
    'flag': ('flag',),
    'cushion_or_carpet': ('cushion', 'rug'),
    'tent': ('tent',),
    'car': ('car', 'van'),
    'bus': ('bus',),
    'truck': ('truck',),
    'bicycle': ('bicycle',),
    'motorcycle': ('minibike',),
    'ship_or_boat': ('boat', 'ship'),
    'airplane': ('airplane',),
    'traffic_light': ('traffic light',),
    'lamp': ('lamp', 'light', 'chandelier', 'streetlight', 'sconce'),
    'person': ('person',),
    'other_animal': ('animal',),
    'tree': ('tree', 'palm'),
    'flower': ('flower',),
    'other_plant': ('plant',),
    'toy': ('plaything',),
    'ball': ('ball',),
    'cupboard_or_showcase_or_storage_rack': (
        'cabinet', 'wardrobe', 'case', 'chest of drawers', 'buffet'),
    'box': ('box',),
    'basket': ('basket',),
    'bag_or_package': ('bag',),
    'trash_can': ('ashcan',),
    'plate': ('plate',),
    'bottle_or_cup': ('bottle', 'glass'),
    'barrel': ('barrel',),
    'bed': ('bed',),
    'pillow': ('pillow',),
    'table_or_desk': ('table', 'desk', 'coffee table'),
    'chair_or_seat': ('chair', 'armchair', 'swivel chair', 'seat', 'stool'),
    'bench': ('bench',),
    'sofa': ('sofa',),
    'shelf': ('shelf', 'bookcase'),
    'bathtub': ('bathtub',),
    'commode': ('toilet',),
    'refrigerator': ('refrigerator',),
    'washing_machine': ('washer',),
    'Microwave_oven': ('microwave',),
    'fan': ('fan',),
    'curtain': ('curtain',),
    'textiles': ('towel', 'blanket'),
    'clothes': ('apparel',),
    'painting_or_poster': ('painting', 'poster'),
    'mirror': ('mirror',),
    'flower_pot_or_vase': ('pot', 'vase'),
    'clock': ('clock',),
    'book': ('book',),
    'screen_or_television': ('television receiver', 'screen', 'crt screen', 'monitor'),
    'computer': ('computer',),
    'food': ('food',),
}

# What Time2General's Table 8 aligns Cityscapes to; terrain, train and bicycle have no class there.
_CITYSCAPES_OF_DRIVING: Members = {
    name: ('truck', 'bus') if name == 'truck_bus' else (name,) for name in DRIVING_NAMES}

# Neither VSPW nor ADE20K tells a rider from a person; VSPW has no traffic sign.
_VSPW_OF_DRIVING: Members = {
    'road': ('road', 'crosswalk'),
    'sidewalk': ('path',),
    'building': ('building', 'house', 'tower'),
    'wall': ('wall',),
    'fence': ('handrail_or_fence',),
    'pole': ('pole',),
    'traffic light': ('traffic_light',),
    'vegetation': ('wood', 'tree', 'flower', 'other_plant'),
    'sky': ('sky',),
    'person': ('person',),
    'car': ('car',),
    'truck_bus': ('truck', 'bus'),
    'motorcycle': ('motorcycle',),
}
_ADE20K_OF_DRIVING: Members = {
    'road': ('road',),
    'sidewalk': ('sidewalk', 'path'),
    'building': ('building', 'house', 'skyscraper', 'hovel', 'tower'),
    'wall': ('wall',),
    'fence': ('fence', 'railing', 'bannister'),
    'pole': ('pole', 'streetlight'),
    'traffic light': ('traffic light',),
    'traffic sign': ('signboard',),
    'vegetation': ('tree', 'palm', 'plant', 'flower'),
    'sky': ('sky',),
    'person': ('person',),
    'car': ('car', 'van'),
    'truck_bus': ('truck', 'bus'),
    'motorcycle': ('minibike',),
}

CLASS_MAPS: dict[str, ClassMap] = {each.name: each for each in (
    _to_overlap('vspw', 'cityscapes', _VSPW_OF_CITYSCAPES),
    _to_overlap('ade20k', 'vspw', _ADE20K_OF_VSPW),
    _to_driving('vspw', _VSPW_OF_DRIVING),
    _to_driving('ade20k', _ADE20K_OF_DRIVING),
    _to_driving('cityscapes', _CITYSCAPES_OF_DRIVING),
    *(_unchanged(name) for name in ('cityscapes', 'vspw', 'ade20k')),
)}
"""Every class map, by its name."""

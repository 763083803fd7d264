"""
RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: sentences about objects in images of COCO.

    {refcoco,refcoco+,refcocog,grefcoco}/refs(unc).p       refcocog: refs(umd).p, refs(google).p
                                                           grefcoco: grefs(unc).json or .p
    {refcoco,refcoco+,refcocog,grefcoco}/instances.json
    images/mscoco/images/train2014/COCO_train2014_*.jpg    or images/train2014/

Every sentence becomes a clip of one frame. A sentence of gRefCOCO may name several objects or
none. The references come as a Python pickle, which could run any code when it is read: here
nothing but plain lists, mappings, texts and numbers is accepted.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vseg_ros.datasets.coco_rle import decode_polygons, decode_rle
from vseg_ros.datasets.layout import need_folder
from vseg_ros.datasets.referring import MaskReader, ReferringClip, read_json
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray

FPS = 1.0
_NAMES = ('refs(unc).p', 'refs(umd).p', 'refs(google).p', 'grefs(unc).json', 'grefs(unc).p')
_IMAGES = ('images/mscoco/images/train2014', 'images/train2014')
_LAYOUT = ('refcoco is a folder such as refcoco+ with refs(unc).p and instances.json, beside '
           'images/mscoco/images/train2014')
_NO_ANNOTATION = -1


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, mappings, texts and numbers; refuses every class and function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'{module}.{name} is no plain data')


def refcoco_clips(folder: str | Path, split: str | None = None) -> list[ReferringClip]:
    """
    Open one of the RefCOCO data sets.

    Args:
        folder: that of the data set, such as `DATA/refcoco+`; the images are in `DATA/images`.
        split: as the references have it: train, val (the default), testA, testB or test; test
            takes all whose name begins so.

    Returns:
        A clip of one frame a sentence; sentences about one image follow one another.

    Raises:
        UserError: not this layout, no such split, or a pickle that holds more than plain data.

    """
    root = need_folder(Path(folder), _LAYOUT)
    references = _read_references(root)
    wanted = split or 'val'
    found = {str(told['split']) for told in references}
    chosen = [told for told in references if told['split'] == wanted
              or (wanted == 'test' and str(told['split']).startswith('test'))]
    if not chosen:
        raise UserError(f'{root} has no split {wanted!r}: choose {", ".join(sorted(found))}')
    images = next((path for path in (root.parent / name for name in _IMAGES) if path.is_dir()),
                  root.parent / _IMAGES[0])
    need_folder(images, _LAYOUT)
    instances = read_json(root / 'instances.json', _LAYOUT)
    try:
        return list(_clips(chosen, instances, images))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{root}/instances.json does not fit its references '
                        f'({type(error).__name__} {error}): download both again') from error


def _read_references(root: Path) -> list[dict[str, Any]]:
    path = next((path for path in (root / name for name in _NAMES) if path.is_file()), None)
    if path is None:
        raise UserError(f'there is no {", ".join(_NAMES)} in {root}: {_LAYOUT}')
    plain = path.suffix == '.json'
    references = read_json(path, _LAYOUT) if plain else _read_pickle(path)
    if not isinstance(references, list) or not references or not all(
            isinstance(told, dict) and {'split', 'image_id', 'ann_id', 'sentences'} <= told.keys()
            for told in references):
        raise UserError(f'{path} is no list of references: download it again')
    return references


def _read_pickle(path: Path) -> Any:
    """Read plain data; texts of Python 2 as Latin-1, which every byte is a letter of."""
    try:
        with path.open('rb') as file:
            return _PlainUnpickler(file, encoding='latin-1').load()
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f'cannot read {path} ({type(error).__name__}: {error}): download it again '
                        'from a place that you trust') from error


def _clips(references: list[dict[str, Any]], instances: Mapping[str, Any], images: Path
           ) -> Iterator[ReferringClip]:
    pictures = {told['id']: told for told in instances['images']}
    annotations = {told['id']: told for told in instances['annotations']}
    # Stable: the order of the references is kept within an image.
    for told in sorted(references, key=lambda told: int(told['image_id'])):
        picture = pictures[told['image_id']]
        ids = told['ann_id'] if isinstance(told['ann_id'], list) else [told['ann_id']]
        objects = [annotations[key]['segmentation'] for key in ids if key != _NO_ANNOTATION]
        files = (images / Path(picture['file_name']).name,)
        reader = _mask_reader(objects, int(picture['height']), int(picture['width']), files[0])
        for sentence in told['sentences']:
            yield ReferringClip(files[0].stem, sentence['sent'], str(sentence['sent_id']), files,
                                FPS, reader)


def _mask_reader(objects: list[Any], height: int, width: int, image: Path) -> MaskReader:
    def read(_: int) -> BoolArray:
        union = np.zeros((height, width), np.bool_)
        try:
            for shape in objects:
                union |= (decode_rle(shape) if isinstance(shape, Mapping)
                          else decode_polygons(shape, height, width))
        except ValueError as error:
            raise UserError(f'an object of {image.name} has a damaged outline ({error}): download '
                            'instances.json again') from error
        return union
    return read

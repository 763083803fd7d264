"""
Trackers of the SAM 2 family: small ones of this package, others in the transformers format.

The image encoder runs once a frame for both directions; features of the last `KEPT_FEATURES`
frames are kept (16 MB each for SAM 2 at 1024 pixels in float32), older ones are computed again
from the images, which are kept by reference. What is remembered of objects does not grow, see
`sam2_memory.py`; all objects of a frame go through the network together, see `sam2_network.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, EdgeTamVideoModel, Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.failure import first_line
from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.models.nano_sam2 import read_nano_sam2
from vseg_ros.models.runtime import select_device, select_dtype
from vseg_ros.models.sam2_images import frame_masks, model_image, model_mask, model_points
from vseg_ros.models.sam2_memory import Memory, ObjectMemory, Recollection
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.models.tracker import FramePosition, Point, check_image, check_mask
from vseg_ros.settings import Precision
from vseg_ros.weights import Weights, find_weights, hub_advice

HUB_IDS = {'edgetam': 'yonigozlan/EdgeTAM-hf'} | {
    f'{version}-hiera-{size}': f'facebook/{version}-hiera-{size}'
    for version in ('sam2', 'sam2.1') for size in ('tiny', 'small', 'base-plus', 'large')}
"""Short names and where their weights are."""

KEPT_FEATURES = 64
# More at a time are no faster; one takes about 0.1 GB at 1024 pixels while it is computed.
OBJECTS_AT_ONCE = 16


class Sam2Tracker:
    """
    Follows points and masks by SAM 2 or EdgeTAM; see `MaskTracker`.

    Args:
        name: a key of `HUB_IDS`, a bundled name, a file written by `vseg train tracker`, a hub
            id, or a folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: of the weights; `auto` is float32 on a CPU and bfloat16 on a GPU.

    Raises:
        UserError: the weights or the device are not there, or the weights are not SAM 2's.

    """

    wants_masks = False

    def __init__(self, name: str, device: str = 'auto', precision: Precision = 'auto') -> None:
        self.name = name
        self._device = select_device(device)
        self._dtype = select_dtype(precision, self._device)
        self._network: Sam2Network | None = self._load()

    def open(self) -> Sam2Session:
        """Start on a new video."""
        if self._network is None:
            self._network = self._load()
        return Sam2Session(self._network)

    def release(self) -> None:
        """Drop the weights."""
        self._network = None
        if self._device.type == 'cuda':
            torch.cuda.empty_cache()

    def _load(self) -> Sam2Network:
        weights = (Weights(HUB_IDS[self.name], 'hub', None) if self.name in HUB_IDS
                   else find_weights(self.name))
        model: Any = load_model(weights)
        return Sam2Network(model.to(self._device, self._dtype).eval().requires_grad_(False))


def load_model(weights: Weights) -> Sam2VideoModel | EdgeTamVideoModel:
    """
    Load a checkpoint saved by transformers, or a small SAM 2 of this package.

    Args:
        weights: a folder, a hub id, a bundled name, or a file written by `vseg train tracker`.

    Returns:
        The model in float32 on the CPU.

    Raises:
        UserError: it is not there, damaged, or neither SAM 2 nor EdgeTAM.

    """
    if weights.path is not None and weights.kind in ('bundled', 'file'):
        return read_nano_sam2(weights.path)
    source = weights.name if weights.path is None else str(weights.path)
    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind not in ('sam2_video', 'edgetam_video'):
            raise UserError(f'{source} is a {kind}, no video tracker: give `flow`, one of '
                            f'{", ".join(HUB_IDS)}, or a folder with such a checkpoint')
        family: Any = EdgeTamVideoModel if kind == 'edgetam_video' else Sam2VideoModel
        model, report = family.from_pretrained(source, dtype=torch.float32,
                                               output_loading_info=True)
    except ImportError as error:
        raise UserError(f'{source} needs a package that is not installed: '
                        f'{first_line(error)}') from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if weights.kind == 'hub':
            raise UserError(hub_advice(weights.name)) from error
        raise UserError(f'{source} holds no readable SAM 2 video checkpoint '
                        f'({first_line(error)}): download it again') from error
    if report['missing_keys']:
        raise UserError(f'{source} lacks {len(report["missing_keys"])} of the weights of a SAM 2 '
                        'video checkpoint: download it again')
    loaded: Sam2VideoModel | EdgeTamVideoModel = model
    return loaded


class Sam2Session:
    """
    The objects of one video; see `TrackingSession`.

    Attributes:
        logits: object id -> mask logits [h, w] of the model on the frame worked on last, above 0
            inside the object.

    """

    def __init__(self, network: Sam2Network) -> None:
        self._network = network
        self._size: tuple[int, int] | None = None
        self._images: list[UInt8Array] = []
        self._features: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._position = FramePosition()
        self._objects: dict[int, ObjectMemory] = {}
        self.logits: dict[int, Tensor] = {}

    def append(self, image: UInt8Array) -> int:
        """Take the next frame; see `TrackingSession.append`."""
        self._size = check_image(image, self._size)
        self._images.append(image)
        return len(self._images) - 1

    @torch.inference_mode()
    def track(self, index: int) -> dict[int, BoolArray]:
        """Move every object to a neighbouring frame; see `TrackingSession.track`."""
        previous = self._position.step(index, len(self._images), bool(self._objects))
        if self._objects and previous != index:
            features = self._encoded(index)
            for keys, memories in self._batches(index, index - previous):
                found = self._network.segment_remembered(features, memories)
                for key, logits, memory in zip(keys, found.logits[:, 0],
                                               self._memorise(features, found), strict=True):
                    self.logits[key] = logits
                    self._objects[key].remember(index, memory, self._network.spatial_memories,
                                                self._network.pointers)
        assert self._size is not None
        masks = frame_masks(list(self.logits.values()), self._size)
        return dict(zip(self.logits, masks, strict=True))

    def add_point(self, index: int, object_id: int, point: Point) -> BoolArray:
        """Prompt an object by a point inside it; see `TrackingSession.add_point`."""
        return self.add_points(index, object_id, [point], [True])

    @torch.inference_mode()
    def add_points(self, index: int, object_id: int, points: Sequence[Point],
                   inside: Sequence[bool]) -> BoolArray:
        """Prompt an object by points; see `TrackingSession.add_points`."""
        self._position.stay(index, len(self._images), bool(self._objects))
        assert self._size is not None
        if not points or len(points) != len(inside):
            raise ValueError(f'{len(points)} points need as many flags, and at least one, not '
                             f'{len(inside)}')
        height, width = self._size
        if not all(-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5 for x, y in points):
            raise ValueError(f'points {list(points)} are not all inside {width}x{height} pixels')
        features = self._encoded(index)
        device = self._network.device
        found = self._network.segment_points(
            features, model_points(points, self._size, self._network.side, device),
            torch.tensor([[list(map(int, inside))]], dtype=torch.int32, device=device))
        masks = self._network.memory_masks(found.logits)
        return self._prompted(index, object_id, features, found, masks)

    @torch.inference_mode()
    def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
        """Prompt an object by its mask; see `TrackingSession.add_mask`."""
        self._position.stay(index, len(self._images), bool(self._objects))
        assert self._size is not None
        check_mask(mask, self._size)
        network = self._network
        features = self._encoded(index)
        given = model_mask(mask, network.side, network.device, network.dtype)
        found = network.segment_mask(features, given)
        return self._prompted(index, object_id, features, found,
                              network.memory_masks(given - 0.5))

    def forget_objects(self) -> None:
        """Drop all objects and their memories; features stay."""
        self._position = FramePosition()
        self._objects.clear()
        self.logits.clear()

    def close(self) -> None:
        """Drop everything."""
        self.forget_objects()
        self._images.clear()
        self._features.clear()

    def _prompted(self, index: int, object_id: int, features: ImageFeatures, found: Segmented,
                  masks: Tensor) -> BoolArray:
        """Start to remember an object, whose mask on the model's square is where `masks` > 0."""
        spatial = self._network.encode_memory(features, masks, found.scores, prompted=True)
        self._objects[object_id] = ObjectMemory(index, Memory(spatial[0], found.pointers[0]))
        self.logits[object_id] = found.logits[0, 0]
        assert self._size is not None
        return frame_masks([found.logits[0, 0]], self._size)[0]

    def _memorise(self, features: ImageFeatures, found: Segmented) -> list[Memory]:
        """Make the memories of tracked objects."""
        masks = self._network.memory_masks(found.logits)
        spatial = self._network.encode_memory(features, masks, found.scores, prompted=False)
        return [Memory(*pair) for pair in zip(spatial, found.pointers, strict=True)]

    def _batches(self, index: int, direction: int,
                 ) -> Iterator[tuple[list[int], list[Recollection]]]:
        """Group the objects by the layout of their memories, in batches of bounded size."""
        groups: dict[object, tuple[list[int], list[Recollection]]] = {}
        for key, memory in self._objects.items():
            recollection = memory.recall(index, direction, self._network.spatial_memories,
                                         self._network.pointers)
            keys, memories = groups.setdefault(recollection.layout, ([], []))
            keys.append(key)
            memories.append(recollection)
        for keys, memories in groups.values():
            for start in range(0, len(keys), OBJECTS_AT_ONCE):
                stop = start + OBJECTS_AT_ONCE
                yield keys[start:stop], memories[start:stop]

    def _encoded(self, index: int) -> ImageFeatures:
        """Return the features of a frame."""
        if index in self._features:
            self._features.move_to_end(index)
            return self._features[index]
        network = self._network
        features = network.encode_image(
            model_image(self._images[index], network.side, network.device, network.dtype))
        self._features[index] = features
        if len(self._features) > KEPT_FEATURES:
            self._features.popitem(last=False)
        return features

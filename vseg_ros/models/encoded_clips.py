"""
Training clips as a frozen image encoder sees them, computed once and kept on disk.

The encoder of a small SAM 2 does not learn, so what it makes of a frame is the same in every
step. Each clip is encoded when it is first asked for and then read from memory-mapped files, of
which the system keeps in memory what fits. Several processes may fill one folder, for each file
appears whole; an interrupted run goes on. The folder remembers by a digest whose encoder filled
it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.atomic import atomic_file, writing
from vseg_ros.errors import UserError
from vseg_ros.frame import UInt8Array
from vseg_ros.models.digest import digest
from vseg_ros.models.sam2_images import model_image
from vseg_ros.models.sam2_network import Sam2Network


@dataclass(frozen=True, eq=False)
class TrackingClip:
    """
    A clip with a number for every pixel that belongs to something.

    Attributes:
        images: uint8 [T, H, W, 3], RGB.
        regions: uint16 [T, H, W]; the same number is the same thing in every frame, 0 is nothing.
        notes: what else is known of the clip, for whoever made it; kept with the clip.

    """

    images: UInt8Array
    regions: NDArray[np.uint16]
    notes: str = ''


class TrackingClips(Protocol):
    """Clips of one length by number, the same at every call."""

    def __len__(self) -> int:
        """Count the clips."""
        ...

    def __getitem__(self, index: int, /) -> TrackingClip:
        """Make a clip."""
        ...


class EncodedClip(NamedTuple):
    """
    A clip as the layers above the encoder see it.

    Attributes:
        maps: float16 [T, h_i, w_i, C_i] each, finest first.
        regions: int32 [T, side / 2, side / 2].
        notes: as in `TrackingClip`.

    """

    maps: tuple[Tensor, ...]
    regions: Tensor
    notes: str


class EncodedClips:
    """
    Encoded clips by number.

    Args:
        folder: where they are kept; made if it is not there.
        clips: what is encoded.
        network: whose backbone encodes; it is put in evaluation mode whenever it does.
        length: frames of every clip, T.
        source: where the clips come from, in words, kept with them; '' keeps and asks nothing.

    Raises:
        UserError: the folder holds clips of another number, length, encoder or source, is
            damaged or cannot be written, or the disk has no room for all clips.

    """

    def __init__(self, folder: Path, clips: TrackingClips, network: Sam2Network,
                 length: int, source: str = '') -> None:
        self._clips, self._network, self._folder = clips, network, folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        count, side = len(clips), network.side
        shapes = [(count, length, *each) for each in self._map_shapes()]
        self._check_room(count * length * side ** 2 // 2 + sum(2 * prod(s) for s in shapes))
        self._check_origin('encoder', digest(network.backbone))
        if source:
            self._check_origin('source', source)
        self._maps = [self._open(f'map{level}', shape, np.float16)
                      for level, shape in enumerate(shapes)]
        self._regions = self._open('regions', (count, length, side // 2, side // 2), np.uint16)
        self._done = self._open('done', (count,), np.uint8)

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._clips)

    def __getitem__(self, index: int) -> EncodedClip:
        """Return a clip, encoding it if nobody has yet."""
        notes = self.notes(index)
        maps = tuple(torch.from_numpy(np.array(each[index])) for each in self._maps)
        regions = torch.from_numpy(self._regions[index].astype(np.int32))
        return EncodedClip(maps, regions, notes)

    def notes(self, index: int) -> str:
        """Return the notes of a clip alone, encoding it if nobody has yet."""
        if not self._done[index]:
            self._encode(index)
        return (self._folder / f'{index}.txt').read_text()

    @torch.no_grad()
    def _map_shapes(self) -> list[tuple[int, ...]]:
        """Return height, width and channels of each map, known once the encoder has run."""
        network = self._network
        empty = torch.zeros(1, 3, network.side, network.side, device=network.device,
                            dtype=network.dtype)
        return [tuple(each.shape[1:]) for each in network.encode_backbone(empty)]

    @torch.no_grad()
    def _encode(self, index: int) -> None:
        clip, network = self._clips[index], self._network
        # a model in training may drop layers of its encoder at random
        network.backbone.eval()
        pixels = torch.cat([model_image(image, network.side, network.device, network.dtype)
                            for image in clip.images])
        for stored, level in zip(self._maps, network.encode_backbone(pixels), strict=True):
            stored[index] = level.float().cpu().numpy().astype(np.float16)
        half = (network.side // 2, network.side // 2)
        self._regions[index] = np.stack([
            cv2.resize(each, half, interpolation=cv2.INTER_NEAREST) for each in clip.regions])
        with atomic_file(self._folder / f'{index}.txt') as temporary:
            temporary.write_text(clip.notes)
        self._done[index] = 1

    def _check_room(self, needed: int) -> None:
        """Refuse what would end in a crash much later: a mapped file needs its room by then."""
        free = shutil.disk_usage(self._folder).free
        if free < needed and not (self._folder / 'done.npy').exists():
            raise UserError(f'the encoded clips take {needed / 1e9:.1f} GB, but {self._folder} '
                            f'has {free / 1e9:.1f} GB left: free some space, choose another '
                            'folder, or train on fewer clips')

    def _check_origin(self, kind: str, origin: str) -> None:
        """Compare with what the folder was made from, or note it."""
        path = self._folder / f'{kind}.txt'
        if not path.exists():
            with atomic_file(path) as temporary:
                temporary.write_text(origin)
        if path.read_text() != origin:
            raise self._other(kind)

    def _open(self, name: str, shape: tuple[int, ...],
              kind: type[np.generic]) -> np.memmap[tuple[int, ...], np.dtype[np.generic]]:
        path = self._folder / f'{name}.npy'
        if not path.exists():
            self._make(path, shape, kind)
        try:
            stored = open_memmap(path, mode='r+')
        except (OSError, ValueError) as error:
            raise UserError(f'{path} is damaged: remove {self._folder}') from error
        if stored.shape != shape or stored.dtype != kind:
            raise self._other('number, length or size')
        return stored

    @staticmethod
    def _make(path: Path, shape: tuple[int, ...], kind: type[np.generic]) -> None:
        """Make a file of zeros, whole at once, unless another process was faster."""
        temporary = path.with_name(f'.{path.name}.{os.getpid()}')
        with writing(path):
            try:
                open_memmap(temporary, mode='w+', dtype=kind, shape=shape)
                # unlike a rename, a link never replaces what has been written to since
                with suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _other(self, what: str) -> UserError:
        return UserError(f'{self._folder} holds encoded clips of another {what}: remove it, or '
                         'give another folder')

"""
Training clips as a frozen image encoder sees them, computed once and kept on disk.

The encoder of a small SAM 2 does not learn, so what it makes of a frame is the same in every
step. Each clip is encoded when it is first asked for and then read from memory-mapped files, of
which the system keeps in memory what fits. Several processes may fill one folder; an interrupted
run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.frame import UInt8Array
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
        network: whose backbone encodes.
        length: frames of every clip, T.

    Raises:
        UserError: the folder holds clips of another number, length or encoder.

    """

    def __init__(self, folder: Path, clips: TrackingClips, network: Sam2Network,
                 length: int) -> None:
        self._clips, self._network, self._length = clips, network, length
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        side = network.side
        # what an encoder returns is known once it has run
        with torch.no_grad():
            empty = network.encode_backbone(torch.zeros(1, 3, side, side, device=network.device,
                                                        dtype=network.dtype))
        count = len(clips)
        self._maps = [self._open(f'map{level}', (count, length, *each.shape[1:]), np.float16)
                      for level, each in enumerate(empty)]
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
    def _encode(self, index: int) -> None:
        clip, network = self._clips[index], self._network
        pixels = torch.cat([model_image(image, network.side, network.device, network.dtype)
                            for image in clip.images])
        for stored, level in zip(self._maps, network.encode_backbone(pixels), strict=True):
            stored[index] = level.float().cpu().numpy().astype(np.float16)
        half = (network.side // 2, network.side // 2)
        self._regions[index] = np.stack([
            cv2.resize(each, half, interpolation=cv2.INTER_NEAREST) for each in clip.regions])
        (self._folder / f'{index}.txt').write_text(clip.notes)
        self._done[index] = 1

    def _open(self, name: str, shape: tuple[int, ...],
              kind: type[np.generic]) -> np.memmap[tuple[int, ...], np.dtype[np.generic]]:
        path = self._folder / f'{name}.npy'
        if not path.exists():
            return np.lib.format.open_memmap(path, mode='w+', dtype=kind, shape=shape)
        stored = np.lib.format.open_memmap(path, mode='r+')
        if stored.shape != shape:
            raise UserError(f'{self._folder} holds encoded clips of another kind: remove it, or '
                            'give another folder')
        return stored

"""
Video files, read with their true timestamps and written so that browsers play them.

A frame's stamp is its presentation time in the file, so variable frame rates survive. Files are
written as H.264, yuv420p, with the index in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vseg_ros.atomic import AtomicOutput, StreamWriter, uninterrupted, writing
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, UInt8Array
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import LabelSet

_NANOSECONDS = 1_000_000_000
_CLOCK = Fraction(1, 90_000)
_DEFAULT_FPS = 30
_FRAME_ID = 'camera'


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    """Open a video's first video stream, or say what is wrong with the file."""
    try:
        container = av.open(str(path))
    except FileNotFoundError as error:
        raise UserError(f'there is no video {path}: check the path') from error
    except PermissionError as error:
        raise UserError(f'no permission to read {path}: ask for it or copy the video') from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f'{path} is no video, or is damaged or cut short: give a video file such '
                        'as .mp4, .mkv or .avi') from error
    with container:
        if not container.streams.video:
            raise UserError(f'{path} holds no video stream: give a video file')
        stream = container.streams.video[0]
        # without a decoder, decoding ends the process in PyAV 17.1
        if stream.codec_context is None:
            raise UserError(f'{path} holds a video in a format that is not known, or is damaged: '
                            'convert it to H.264, or copy it again')
        yield container, stream


def _upright(frame: VideoFrame) -> UInt8Array:
    """Return the frame as RGB, turned the way its rotation metadata says."""
    image = np.asarray(frame.to_ndarray(format='rgb24'), np.uint8)
    quarters = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters % 4 else image


class VideoFile:
    """
    A video file as a `FrameSource`, without labels.

    Args:
        path: anything that FFmpeg reads.
        fps: stamps at this rate instead of the file's own times.

    Raises:
        UserError: no such file, no video in it, or (while iterating) damaged or cut short.

    """

    label_set: LabelSet | None = None

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        self.path, self._fps = Path(path), fps
        self.name = self.path.stem
        with _open(self.path) as (_, stream):
            self.frame_count = stream.frames or None

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Decode from the first frame."""
        time: Fraction | None = None
        with _open(self.path) as (container, stream):
            stream.thread_type = 'AUTO'
            rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FPS
            period = 1 / Fraction(self._fps or rate)
            for decoded in self._decoded(container, stream):
                time = self._next_time(decoded, time, period)
                stamp = round(time * _NANOSECONDS)
                yield LabelledFrame(Frame(_upright(decoded), stamp, _FRAME_ID))
        if time is None:
            raise UserError(f'{self.path} holds no frame that can be decoded: give a video file')

    def _next_time(self, decoded: VideoFrame, last: Fraction | None,
                   period: Fraction) -> Fraction:
        """
        Return the frame's presentation time in seconds; time never stands still nor goes back.

        Some containers leave times out or only store the order of decoding, and a time below
        zero does not exist in ROS: such a frame follows the last one by a period.
        """
        following = Fraction(0) if last is None else last + period
        if self._fps is not None or decoded.pts is None or decoded.time_base is None:
            return following
        time = decoded.pts * decoded.time_base
        return following if time < 0 or (last is not None and time <= last) else time

    def _decoded(self, container: av.container.InputContainer,
                 stream: VideoStream) -> Iterator[VideoFrame]:
        """Decode all frames, and miss none of those that the file promises."""
        packets = 0
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0 and not packet.is_corrupt
                yield from packet.decode()
        except av.error.FFmpegError as error:
            raise UserError(f'the video {self.path} is damaged after packet {packets}: copy it '
                            'again') from error
        if packets < stream.frames:
            raise UserError(f'the video {self.path} is cut short: it holds {packets} of '
                            f'{stream.frames} frames; copy it again')


class VideoWriter(StreamWriter):
    """
    An .mp4 under construction; a context manager, see `StreamWriter`.

    Args:
        path: NAME.mp4.
        fps: the nominal rate; the true times are those of the frames.

    Raises:
        UserError: another suffix, or a place that cannot be written; `write` also when the disk
            is full.

    """

    def __init__(self, path: str | Path, fps: float = 30) -> None:
        path = Path(path)
        if path.suffix != '.mp4':
            raise UserError(f'a video cannot be called {path}: end its name in .mp4')
        super().__init__(AtomicOutput(path))
        self._stream: VideoStream | None = None
        self._fps = Fraction(fps).limit_denominator(1000)
        self._first = self._last = 0
        try:
            with writing(path):
                self._container = av.open(str(self._output.temporary), 'w',
                                          options={'movflags': '+faststart'})
        except BaseException:
            self._output.discard()
            raise

    @property
    def empty(self) -> bool:
        """Whether no frame was written yet."""
        return self._stream is None

    def write(self, image: UInt8Array, stamp: int) -> None:
        """
        Add a picture.

        Args:
            image: uint8 [H, W, 3], RGB; one of another size than the first is scaled to it.
            stamp: its time in nanoseconds; the first one's becomes zero.

        """
        with uninterrupted(), writing(self.path):
            if self._stream is None:
                self._stream = self._add_stream(*image.shape[:2])
                self._first, self._last = stamp, -1
            ticks = round(Fraction(stamp - self._first, _NANOSECONDS) / _CLOCK)
            self._last = max(ticks, self._last + 1)
            frame = VideoFrame.from_ndarray(self._fitted(image), format='rgb24')
            frame.pts, frame.time_base = self._last, _CLOCK
            self._container.mux(self._stream.encode(frame))

    def _add_stream(self, height: int, width: int) -> VideoStream:
        stream = self._container.add_stream('libx264', rate=self._fps,
                                            options={'crf': '20', 'preset': 'veryfast'})
        # 4:2:0 chroma needs even sides.
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.time_base = _CLOCK
        self._size = height, width
        return stream

    def _fitted(self, image: UInt8Array) -> UInt8Array:
        height, width = self._size
        if image.shape[:2] != self._size:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
                               np.uint8)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
        return np.ascontiguousarray(image)

    def _finish(self) -> None:
        if self._stream is None:
            raise UserError(f'there is no frame to write to {self.path}: check the source')
        with writing(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _abandon(self) -> None:
        self._container.close()

# ruff: noqa: PT012 (what raises is the context manager itself, around more than one statement)
from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from vseg_ros.errors import UserError
from vseg_ros.io.video import VideoFile, VideoWriter

SECOND = 1_000_000_000


def pictures(count: int = 6, height: int = 48, width: int = 64) -> list[np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    red, green = rows * 4 % 256, columns * 3
    return [np.stack([red, green, np.full_like(rows, 30 * i)], -1).astype(np.uint8)
            for i in range(count)]


def write(path, images, stamps=None):
    with VideoWriter(path, fps=10) as video:
        for index, image in enumerate(images):
            video.write(image, stamps[index] if stamps else 7 * SECOND + index * SECOND // 10)
    return path


def test_round_trip_keeps_pictures_and_uneven_times(tmp_path, nothing_left):
    stamps = [t * 1_000_000 for t in (500, 600, 1000, 1010, 4000, 4033)]
    path = write(tmp_path / 'a.mp4', pictures(), stamps)
    nothing_left('a.mp4')
    video = VideoFile(path)
    assert (video.frame_count, video.name, video.label_set) == (6, 'a', None)
    for _ in range(2):
        frames = [item.frame for item in video]
        assert [round(f.stamp / 1e6) for f in frames] == [0, 100, 500, 510, 3500, 3533]
        for frame, picture in zip(frames, pictures(), strict=True):
            assert np.abs(frame.image.astype(int) - picture).mean() < 8


def test_the_file_is_what_browsers_play(tmp_path):
    path = write(tmp_path / 'a.mp4', pictures(3, 47, 63))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264'
        assert stream.pix_fmt == 'yuv420p'
        assert (stream.width, stream.height) == (64, 48)
    data = path.read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')


def test_other_sizes_are_scaled_and_equal_stamps_kept_apart(tmp_path):
    images = [cv2.resize(pictures(1)[0], size) for size in ((64, 48), (32, 24), (90, 20))]
    path = write(tmp_path / 'a.mp4', images, [5, 5, 5])
    frames = [item.frame for item in VideoFile(path)]
    assert [f.size for f in frames] == [(48, 64)] * 3
    assert np.abs(frames[1].image[..., 1].astype(int) - pictures(1)[0][..., 1]).mean() < 10
    with av.open(str(path)) as container:
        assert len({frame.pts for frame in container.decode(video=0)}) == 3


def test_frames_are_turned_upright(tmp_path):
    plain, turned = write(tmp_path / 'a.mp4', pictures()), tmp_path / 'turned.mp4'
    data = bytearray(plain.read_bytes())
    # The matrix of the track header: a quarter turn clockwise instead of none.
    matrix = b''.join(value.to_bytes(4, 'big', signed=True) for value in (
        65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
    quarter = b''.join(value.to_bytes(4, 'big', signed=True) for value in (
        0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30))
    start = data.index(matrix, data.index(b'tkhd'))
    data[start:start + 36] = quarter
    turned.write_bytes(data)
    frame = next(iter(VideoFile(turned))).frame
    assert frame.size == (64, 48)
    expected = np.rot90(pictures()[0], -1).astype(int)
    assert np.abs(frame.image.astype(int) - expected).mean() < 8


def test_another_rate_replaces_the_times(tmp_path):
    path = write(tmp_path / 'a.mp4', pictures(3))
    assert [item.frame.stamp for item in VideoFile(path, fps=4)] == [0, SECOND // 4, SECOND // 2]


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / 'a.mp4').write_text('not a video')
    (tmp_path / 'b.mp4').write_bytes(b'')
    for name in ('a.mp4', 'b.mp4'):
        with pytest.raises(UserError, match='is no video, or is damaged'):
            VideoFile(tmp_path / name)
    with pytest.raises(UserError, match='there is no video'):
        VideoFile(tmp_path / 'c.mp4')
    with pytest.raises(UserError, match='is no video'):
        VideoFile(tmp_path)


def test_a_format_without_a_decoder_is_refused(tmp_path):
    path = write(tmp_path / 'a.mp4', pictures())
    path.write_bytes(path.read_bytes().replace(b'avc1', b'zzzz'))
    with pytest.raises(UserError, match=r'a\.mp4 holds a video in a format that is not known'):
        list(VideoFile(path))


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / 'a.wav'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), 's16', 'mono')
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match='holds no video stream'):
        VideoFile(path)


def test_truncated_videos_end_in_one_line_at_every_length(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    data = write(tmp_path / 'a.mp4', list(noise)).read_bytes()
    for length in range(10, len(data) - 3, len(data) // 25):
        cut = tmp_path / 'cut.mp4'
        cut.write_bytes(data[:length])
        with pytest.raises(UserError, match=r'cut short|damaged') as error:
            list(VideoFile(cut))
        assert '\n' not in str(error.value)


def test_a_video_that_ends_after_a_whole_frame_is_cut_short_too(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)
    path = write(tmp_path / 'a.mp4', list(noise))
    with av.open(str(path)) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux(video=0)
                      if packet.size)
    path.write_bytes(path.read_bytes()[:ends[-2]])
    with pytest.raises(UserError, match='is cut short: it holds 5 of 6 frames'):
        list(VideoFile(path))


def test_times_below_zero_become_ros_times(tmp_path):
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w', options={'avoid_negative_ts': 'disabled'}) as container:
        stream = container.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 10)
        for index, picture in enumerate(pictures(4)):
            frame = VideoFrame.from_ndarray(picture, format='rgb24')
            frame.pts, frame.time_base = index - 2, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stamps = [item.frame.stamp for item in VideoFile(path)]
    assert stamps == [index * SECOND // 10 for index in range(4)]


@pytest.mark.parametrize('stop', [KeyboardInterrupt, ZeroDivisionError])
def test_ctrl_c_keeps_the_video_and_an_error_does_not(tmp_path, nothing_left, stop):
    path = tmp_path / 'a.mp4'
    with pytest.raises(stop), VideoWriter(path) as video:
        for index, picture in enumerate(pictures()):
            if index == 4:
                raise stop
            video.write(picture, index * SECOND)
    if stop is KeyboardInterrupt:
        assert len(list(VideoFile(path))) == 4
        nothing_left('a.mp4')
    else:
        nothing_left()


def test_a_video_without_frames_is_refused(tmp_path, nothing_left):
    with pytest.raises(UserError, match='no frame to write'), VideoWriter(tmp_path / 'a.mp4'):
        pass
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / 'a.mp4'):
        raise KeyboardInterrupt
    nothing_left()


def test_places_that_cannot_hold_a_video(tmp_path, nothing_left):
    for name, message in (('a.avi', r'end its name in \.mp4'), ('no/a.mp4', 'is no folder')):
        with pytest.raises(UserError, match=message):
            VideoWriter(tmp_path / name)
    nothing_left()


SCRIPT = """
import resource, signal, sys
import numpy as np
from vseg_ros.errors import UserError
from vseg_ros.io.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
noise = np.random.default_rng(0).integers(0, 256, (20, 200, 200, 3), np.uint8)
try:
    with VideoWriter(sys.argv[1]) as video:
        for index, image in enumerate(noise):
            video.write(image, index * 10**8)
except UserError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path, nothing_left):
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(tmp_path / 'a.mp4')],
                          capture_output=True, text=True, check=False)
    assert done.stdout.startswith('the disk is full while writing'), done
    nothing_left()


def test_real_clips_have_all_frames_and_their_times(real_data):
    video = VideoFile(real_data / 'clips' / 'driving.mp4')
    stamps = [item.frame.stamp for item in video]
    assert len(stamps) == video.frame_count == 124
    assert np.allclose(np.diff(stamps), SECOND / 24, atol=1e5)

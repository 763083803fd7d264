"""Bags whose bytes, messages or metadata are wrong: read, or refused in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer

from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.message_types import (
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_INFO,
    TYPES,
    image_message,
    jpeg_message,
    label_info_message,
)
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.skipped_images import SkippedImages

FILES, SLOW = settings.get_profile('files'), settings.get_profile('slow files')
Damaged = Callable[[st.DataObject, bytes], bytes]
Refusal = Callable[[Callable[[], object]], str]
TYPES_OF_IMAGES = IMAGE, COMPRESSED_IMAGE, LABEL_INFO


def read(path: Path) -> list[Any]:
    """Read all there is, frames and labels."""
    return list(itertools.islice(BagSource(path), 1000))


@pytest.fixture(scope='module', params=['a.mcap', 'a.db3'])
def bag(request: pytest.FixtureRequest, drive: Any,
        tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bag."""
    path: Path = tmp_path_factory.mktemp('bag') / request.param
    write_camera_bag(drive, path)
    return path


@FILES
@given(data=st.data())
def test_damaged_file(bag: Path, tmp_path: Path, refusal: Refusal, damaged: Damaged,
                      data: st.DataObject) -> None:
    path = tmp_path / f'damaged{bag.suffix}'
    path.write_bytes(damaged(data, bag.read_bytes()))
    message = refusal(lambda: read(path))
    assert not message or str(path) in message
    # What is carried over into a result bag goes another way through the reader.
    refusal(lambda: copy(path, tmp_path / 'out.mcap'))


def copy(path: Path, out: Path) -> None:
    source = BagSource(path)
    with ResultBag.open(out, 'iss', source):
        pass


@FILES
@given(data=st.data())
def test_damaged_metadata(drive: Any, tmp_path: Path, refusal: Refusal, damaged: Damaged,
                          data: st.DataObject) -> None:
    folder = tmp_path / 'folder'
    if not folder.exists():
        write_camera_bag(drive, folder)
    metadata = folder / 'metadata.yaml'
    whole = metadata.read_bytes()
    metadata.write_bytes(damaged(data, whole))
    try:
        refusal(lambda: read(folder))
    finally:
        metadata.write_bytes(whole)


def write_raw(path: Path, msgtype: str, payloads: list[bytes]) -> None:
    """Write bytes as messages of a type, whatever they are."""
    path.unlink(missing_ok=True)
    folder = path.with_suffix('')
    with Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection('/camera/image', msgtype, typestore=TYPES)
        for index, payload in enumerate(payloads):
            bag.write(connection, index + 1, payload)
    (folder / path.name).replace(path)
    (folder / 'metadata.yaml').unlink()
    folder.rmdir()


def good_payload(msgtype: str, drive: Any) -> bytes:
    frame = next(iter(drive)).frame
    message = {
        IMAGE: lambda: image_message(frame.image, 'rgb8', frame.stamp, 'lens'),
        COMPRESSED_IMAGE: lambda: jpeg_message(frame.image, frame.stamp, 'lens'),
        LABEL_INFO: lambda: label_info_message(drive.label_set, 1, 'lens')}[msgtype]()
    return bytes(TYPES.serialize_cdr(message, msgtype))


@FILES
@given(wrote=st.sampled_from(TYPES_OF_IMAGES), claimed=st.sampled_from(TYPES_OF_IMAGES[:2]),
       rest=st.binary(max_size=60), data=st.data())
def test_damaged_message(drive: Any, tmp_path: Path, refusal: Refusal, damaged: Damaged,
                         wrote: str, claimed: str, rest: bytes, data: st.DataObject) -> None:
    payload = good_payload(wrote, drive)
    if data.draw(st.booleans()):
        payload = damaged(data, payload[:100]) + payload[100:] + rest
    write_raw(tmp_path / 'a.mcap', claimed, [good_payload(claimed, drive), payload])
    seen: list[Any] = []
    message = refusal(lambda: seen.extend(read(tmp_path / 'a.mcap')))
    assert message or len(seen) == 2
    assert not message or str(tmp_path / 'a.mcap') in message
    # Where a damaged image is left out, what was refused is told of it, and the good one is read.
    skipped = SkippedImages()
    kept = list(BagSource(tmp_path / 'a.mcap', skipped=skipped))
    assert (len(kept), skipped.count) == (2 - bool(message), bool(message))
    assert skipped.first == message


@SLOW
@given(stamp=st.tuples(st.integers(-2**31, 2**31 - 1), st.integers(0, 2**32 - 1)),
       fields=st.fixed_dictionaries({}, optional={
           'height': st.integers(0, 2**32 - 1), 'width': st.integers(0, 2**32 - 1),
           'step': st.integers(0, 2**32 - 1), 'is_bigendian': st.integers(0, 255),
           'encoding': st.text(max_size=20)}),
       frame_id=st.text(max_size=40))
def test_absurd_header(drive: Any, tmp_path: Path, refusal: Refusal, stamp: tuple[int, int],
                       fields: dict[str, Any], frame_id: str) -> None:
    frame = next(iter(drive)).frame
    message = image_message(frame.image, 'rgb8', 1, frame_id)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    for name, value in fields.items():
        setattr(message, name, value)
    path = tmp_path / 'a.mcap'
    write_raw(path, IMAGE, [bytes(TYPES.serialize_cdr(message, IMAGE))])
    seen: list[Any] = []
    if not refusal(lambda: seen.extend(read(path))):
        assert seen[0].frame.frame_id == frame_id
        # The result bag must be able to hold what was read.
        refusal(lambda: replay(path, tmp_path / 'out.mcap'))


def replay(path: Path, out: Path) -> None:
    source = BagSource(path)
    with ResultBag.open(out, 'iss', source, altered=True) as bag:
        for item in source:
            bag.write_mask(item.frame, item.frame.image[..., 0] > 9, item.frame.image)

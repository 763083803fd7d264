# ruff: noqa: PT012 (what raises is the context manager itself, around more than one statement)
from __future__ import annotations

import random
import re
import shutil

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.bag_reader import BagReader
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.message_types import (
    diagnostics_message,
    image_message,
    jpeg_message,
    label_info_message,
    make,
)
from vseg_ros.io.skipped_images import SkippedImages
from vseg_ros.labels import DRIVING, LabelSet

STAMP = 5_000_000_000
DATE = 1_700_000_000_000_000_000


def image(index: int, stamp: int | None = None, size: tuple[int, int] = (4, 6)):
    array = np.full((*size, 3), index, np.uint8)
    return image_message(array, 'rgb8', STAMP + index if stamp is None else stamp, 'cam')


def labels(index: int, size: tuple[int, int] = (4, 6), stamp: int | None = None):
    array = np.full(size, index, np.uint8)
    return image_message(array, 'mono8', STAMP + index if stamp is None else stamp, 'cam')


def read(path, **options):
    return list(BagSource(path, **options))


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3', 'folder'])
def test_frames_come_in_order_with_stamp_and_frame_id(tmp_path, write_bag, name):
    # Received in another order than written.
    path = write_bag(tmp_path / name, [('/cam', image(i), 100 + i) for i in (0, 2, 1, 3)])
    source = BagSource(path)
    for _ in range(2):
        frames = [item.frame for item in source]
        assert [f.stamp for f in frames] == [STAMP + i for i in range(4)]
        assert [f.image[0, 0, 0] for f in frames] == [0, 1, 2, 3]
        assert {f.frame_id for f in frames} == {'cam'}
    assert source.frame_count == 4
    assert source.topic == '/cam'
    assert source.label_set is None


def test_a_stamp_of_zero_gives_way_to_the_receive_time(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [
        ('/cam', image(1, stamp=0), 77), ('/cam', image(2, stamp=DATE), 99)])
    assert [item.frame.stamp for item in read(path)] == [77, DATE]


def test_compressed_images_and_a_size_change_are_read(tmp_path, write_bag):
    images = [np.full(size, 60, np.uint8) for size in ((8, 8, 3), (10, 6, 3))]
    path = write_bag(tmp_path / 'a.mcap', [
        ('/cam/compressed', jpeg_message(array, i, 'c'), i) for i, array in enumerate(images)])
    assert [item.frame.size for item in read(path)] == [(8, 8), (10, 6)]


def test_labels_are_matched_by_stamp_however_late_they_come(tmp_path, write_bag):
    info = label_info_message(DRIVING, 0, '')
    messages = [('/camera/image', image(i), 100 + i) for i in range(6)]
    # Frames 1 and 4 have no labels; label 5 is received long after its frame.
    messages += [('/camera/labels', labels(i), 100 + 10 * i) for i in (0, 2, 3, 5)]
    messages += [('/camera/label_info', info, 500)]
    source = BagSource(write_bag(tmp_path / 'a.mcap', messages))
    assert source.label_set is DRIVING
    found = [None if item.labels is None else int(item.labels[0, 0]) for item in source]
    assert found == [0, None, 2, 3, None, 5]


def test_names_of_another_model_are_read(tmp_path, write_bag):
    classes = [make('vision_msgs/msg/VisionClass', class_id=i, class_name=n)
               for i, n in ((2, 'cat'), (0, 'dog'), (255, 'unlabeled'))]
    info = label_info_message(LabelSet.from_names(['x']), 0, '')
    info.class_map = classes
    source = BagSource(write_bag(tmp_path / 'a.mcap', [
        ('/camera/image', image(0), 1), ('/camera/labels', labels(0), 1),
        ('/camera/label_info', info, 1)]))
    assert source.label_set.names == ('dog', 'class 1', 'cat')


def test_labels_of_another_size_are_refused(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [('/camera/image', image(0), 1),
                                           ('/camera/labels', labels(0, (4, 5)), 1)])
    with pytest.raises(UserError, match=r'labels on /camera/labels are 5x4.*/camera/image is 6x4'):
        read(path)


def test_several_label_topics_ask_for_a_choice(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [
        ('/front', image(0), 1), ('/x/labels', labels(0), 1), ('/y/labels', labels(0), 1)])
    with pytest.raises(UserError, match=r'--labels: /x/labels .*/y/labels'):
        BagSource(path)
    assert BagSource(path, labels='/y/labels').labels_topic == '/y/labels'


@pytest.mark.parametrize('labelled', [
    [('/x/labels', labels(0), 1), ('/y/labels', labels(0), 1)],
    [('/labels', labels(0, (2, 3)), 1)], [('/labels', image(0), 1)]])
def test_labels_that_nobody_wants_cannot_be_wrong(tmp_path, write_bag, labelled):
    path = write_bag(tmp_path / 'a.mcap', [('/camera/image', image(0), 1), *labelled])
    with pytest.raises(UserError):
        read(path)
    source = BagSource(path, with_labels=False)
    assert [item.labels for item in source] == [None]
    assert (source.labels_topic, source.label_set) == (None, None)


def test_several_image_topics_ask_for_a_choice(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [
        ('/left/image', image(0), 1), ('/left/image', image(1), 2),
        ('/right/image', jpeg_message(np.zeros((4, 4, 3), np.uint8), 9, ''), 3),
        ('/vseg/ditta/segmentation', labels(0), 3)])
    with pytest.raises(UserError) as error:
        BagSource(path)
    assert '--topic' in str(error.value)
    assert '/left/image (sensor_msgs/msg/Image, 2 messages)' in str(error.value)
    assert '/right/image (sensor_msgs/msg/CompressedImage, 1 messages)' in str(error.value)
    assert '/vseg' not in str(error.value)
    assert len(read(path, topic='/left/image')) == 2
    with pytest.raises(UserError, match=r'no topic /lef/image .*did you mean /left/image'):
        BagSource(path, topic='/lef/image')


def test_a_topic_that_is_no_image_is_refused(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [
        ('/cam', image(0), 1), ('/diagnostics', diagnostics_message(0, '', 'n', 0, 't', {}), 1)])
    with pytest.raises(UserError, match=r'/diagnostics .* is of type diagnostic_msgs'):
        BagSource(path, topic='/diagnostics')


def test_a_bag_without_an_image_topic_says_what_it_has(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [
        ('/diagnostics', diagnostics_message(0, '', 'n', 0, 't', {}), 1)])
    with pytest.raises(UserError, match=r'no image topic.*it has /diagnostics'):
        BagSource(path)
    with pytest.raises(UserError, match='no topic at all'):
        BagSource(write_bag(tmp_path / 'b.mcap', []))


def test_a_bad_image_is_named_with_its_topic_and_time(tmp_path, write_bag):
    bad = image(0)
    bad.step = 17
    with pytest.raises(UserError, match=r'step of the rgb8 image is 17.*/cam, received at 42 ns'):
        read(write_bag(tmp_path / 'a.mcap', [('/cam', bad, 42)]))
    bad = image(0)
    bad.encoding = '16SC3'
    with pytest.raises(UserError, match=r"'16SC3' is not supported.*/cam"):
        read(write_bag(tmp_path / 'b.mcap', [('/cam', bad, 42)]))


def damaged_images():
    good, bad, torn = [image(i) for i in range(4)], image(9), jpeg_message(
        np.zeros((8, 8, 3), np.uint8), 7, '')
    bad.step = 17
    torn.data = torn.data[:-30]
    return good, bad, torn


def test_bad_images_are_left_out_and_counted_where_that_is_wished(tmp_path, write_bag):
    good, bad, _ = damaged_images()
    path = write_bag(tmp_path / 'a.mcap', [
        ('/cam', message, 40 + i) for i, message in enumerate((bad, *good[:2], bad, *good[2:]))])
    skipped = SkippedImages()
    source = BagSource(path, skipped=skipped)
    for _ in range(2):
        assert [item.frame.image[0, 0, 0] for item in source] == [0, 1, 2, 3]
        assert skipped.count == 2, 'counted anew each time'
    assert re.fullmatch('2 images were skipped, since they cannot be decoded; the first: the step '
                        f'of the rgb8 image is 17,.*/cam, received at 40 ns, in {path}.',
                        skipped.note)


def test_a_message_that_is_no_image_is_left_out_too(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.db3', [('/cam', image(i), 40 + i) for i in range(3)])
    whole = path.read_bytes()
    # the length of the second message's encoding
    at = whole.index(b'rgb8', whole.index(b'rgb8') + 1) - 4
    path.write_bytes(whole[:at] + b'\xff\xff' + whole[at + 2:])
    skipped = SkippedImages()
    assert [item.frame.stamp - STAMP for item in BagSource(path, skipped=skipped)] == [0, 2]
    assert skipped.note.startswith('one image was skipped, since it cannot be decoded: a message '
                                   'on /cam in the bag')


def test_a_bag_of_bad_images_alone_is_refused(tmp_path, write_bag):
    _, _, torn = damaged_images()
    path = write_bag(tmp_path / 'a.mcap', [('/cam', torn, i) for i in (40, 41)])
    with pytest.raises(UserError, match=r'none of the 2 images on /cam in .*a\.mcap can be '
                       'decoded; the first: the JPEG image is damaged'):
        list(BagSource(path, skipped=SkippedImages()))
    assert SkippedImages().note == ''


def test_what_is_no_bag_is_refused(tmp_path):
    (tmp_path / 'a.txt').write_text('x')
    (tmp_path / 'a.bag').write_text('#ROSBAG V2.0')
    (tmp_path / 'empty.mcap').write_bytes(b'')
    (tmp_path / 'folder').mkdir()
    for name, message in (('none.mcap', 'there is no bag'), ('a.txt', 'is no bag: give a bag'),
                          ('a.bag', 'ROS 1 bag: convert it'), ('empty.mcap', 'is empty'),
                          ('folder', r'no metadata\.yaml .*ros2 bag reindex')):
        with pytest.raises(UserError, match=message):
            BagSource(tmp_path / name)


def one_line(path) -> bool:
    """Read a damaged bag to its end; whether that failed, with nothing but a `UserError`."""
    message = None
    try:
        read(path)
    except UserError as error:
        message = str(error)
    assert message is None or ('\n' not in message and str(path) in message)
    return message is not None


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3'])
def test_truncated_bags_end_in_one_line_at_every_length(tmp_path, source, name):
    whole = tmp_path / name
    write_camera_bag(source, whole)
    data = whole.read_bytes()
    step = max(1, len(data) // 40)
    for length in (*range(1, 60, 7), *range(60, len(data), step), len(data) - 1):
        cut = tmp_path / f'cut{whole.suffix}'
        cut.write_bytes(data[:length])
        # SQLite reads a file that misses nothing but unused bytes of its last page.
        assert one_line(cut) or (name == 'a.db3' and length > len(data) - 4096)


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3'])
def test_mutated_bags_never_raise_anything_else(tmp_path, source, name):
    whole = tmp_path / name
    write_camera_bag(source, whole)
    data = whole.read_bytes()
    generator = random.Random(0)
    failures = 0
    for _ in range(60):
        mutated = bytearray(data)
        for _ in range(generator.choice((1, 4, 40))):
            mutated[generator.randrange(len(data))] = generator.randrange(256)
        damaged = tmp_path / f'damaged{whole.suffix}'
        damaged.write_bytes(mutated)
        failures += one_line(damaged)
    assert failures > 10


def test_damage_met_while_iterating_comes_after_the_good_frames(tmp_path, write_bag):
    generator = np.random.default_rng(0)
    # Three images fill a chunk of the file; few grey levels make zstd code them.
    images = [generator.integers(0, 4, (300, 400, 3), np.uint8) for _ in range(8)]
    path = write_bag(tmp_path / 'a.mcap', [
        ('/cam', image_message(array, 'rgb8', i, ''), i) for i, array in enumerate(images, 1)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 100_000] = bytes(100_000)
    path.write_bytes(data)
    source, seen = iter(BagSource(path)), []
    with pytest.raises(UserError, match='damaged'):
        while True:
            seen.append(next(source).frame.stamp)
    assert seen == [1, 2, 3]


def test_a_folder_whose_metadata_is_damaged_or_whose_file_is_gone(tmp_path, write_bag):
    path = write_bag(tmp_path / 'bag', [('/cam', image(0), 1)])
    shutil.copytree(path, tmp_path / 'copy')
    (path / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
    assert one_line(path)
    (tmp_path / 'copy' / 'bag.mcap').unlink()
    with pytest.raises(UserError, match=r'damaged or cut short .*missing'):
        BagSource(tmp_path / 'copy')


def test_an_error_of_the_consumer_is_not_taken_for_damage(tmp_path, write_bag):
    path = write_bag(tmp_path / 'a.mcap', [('/cam', image(0), 1)])
    with pytest.raises(ZeroDivisionError), BagReader(path) as reader:
        for _ in reader.labelled_frames():
            raise ZeroDivisionError
    with pytest.raises(ValueError, match='is not open'):
        next(BagReader(path).messages())


def test_a_clock_that_begins_at_zero_keeps_its_first_stamp(tmp_path, write_bag):
    # played and recorded again, a converted video is received at another date than it was taken
    messages = []
    for index in range(4):
        stamp = index * 33_000_000
        messages += [('/camera/image', image(index, stamp=stamp), DATE + stamp),
                     ('/camera/labels', labels(index, stamp=stamp), DATE + stamp + 5)]
    found = read(write_bag(tmp_path / 'a.mcap', messages))
    assert [item.frame.stamp for item in found] == [0, 33_000_000, 66_000_000, 99_000_000]
    assert [int(item.labels[0, 0]) for item in found] == [0, 1, 2, 3]


@pytest.mark.parametrize('count', [1, 3])
def test_stamps_that_are_all_zero_give_way_to_the_receive_times(tmp_path, write_bag, count):
    times = [77, 88, 99][:count]
    path = write_bag(tmp_path / 'a.mcap', [('/cam', image(1, stamp=0), time) for time in times])
    assert [item.frame.stamp for item in read(path)] == times

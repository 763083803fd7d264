# ruff: noqa: PT012 (what raises is the context manager itself, around more than one statement)
from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, QosReliability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vseg_ros.errors import UserError
from vseg_ros.frame import Segmentation
from vseg_ros.io import bag_writer
from vseg_ros.io.bag_file import BagFile, RawMessage
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.image_message import decode_compressed, decode_labels
from vseg_ros.io.message_types import TYPES, VOLATILE, image_message, label_set_of, stamp_of
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.source import open_source
from vseg_ros.labels import DRIVING, LabelSet

CUSTOM = 'robot_msgs/msg/Wheel'
STORE = get_typestore(Stores.ROS2_JAZZY)
STORE.register(get_types_from_msg('std_msgs/Header header\nfloat64[] speeds\n', CUSTOM))
OUTPUTS = {'segmentation', 'confidence', 'overlay/compressed', 'label_info'}


def segment(frame, label_set=DRIVING) -> Segmentation:
    labels = (frame.image[..., 0].astype(int) % len(label_set)).astype(label_set.dtype)
    confidence = np.linspace(0, 1, labels.size, dtype=np.float32).reshape(labels.shape)
    return Segmentation(labels, confidence, label_set, frame.stamp, frame.frame_id)


def messages(path) -> list[RawMessage]:
    with BagFile(path) as bag:
        return list(bag.messages())


def on(path, topic: str) -> list:
    return [(TYPES.deserialize_cdr(m.data, m.connection.msgtype), m.log_time)
            for m in messages(path) if m.connection.topic == topic]


def replay(source, out, frames=None, name='ditta') -> None:
    with ResultBag.open(out, name, source) as bag:
        for index, item in enumerate(source):
            if frames is None or index in frames:
                bag.write(item.frame, segment(item.frame))


def make_drive(tmp_path, name: str):
    """Five images received 50 ns after their stamp, and topics of a type of the robot's own."""
    path = tmp_path / name
    plugin = StoragePlugin.SQLITE3 if path.suffix == '.db3' else StoragePlugin.MCAP
    folder = tmp_path / 'raw' / 'in'
    quality = VOLATILE[0]._replace(reliability=QosReliability.BEST_EFFORT)
    with Writer(folder, version=8, storage_plugin=plugin) as writer:
        camera = writer.add_connection('/cam', 'sensor_msgs/msg/Image', typestore=STORE,
                                       offered_qos_profiles=[quality])
        wheel = writer.add_connection('/wheel', CUSTOM, typestore=STORE)
        writer.add_connection('/silent', CUSTOM, typestore=STORE)
        for index in range(5):
            image = np.full((6, 8, 3), index * 9, np.uint8)
            message = image_message(image, 'rgb8', 1000 + index * 100, 'lens')
            writer.write(camera, 1050 + index * 100,
                         STORE.serialize_cdr(message, message.__msgtype__))
            speeds = STORE.types[CUSTOM](message.header, np.arange(index, dtype=np.float64))
            writer.write(wheel, 1070 + index * 100, STORE.serialize_cdr(speeds, CUSTOM))
    (folder / path.name if path.suffix else folder).rename(path)
    return path


@pytest.fixture
def drive(tmp_path):
    return make_drive(tmp_path, 'in.mcap')


@pytest.mark.parametrize(('name', 'out'), [
    ('in.mcap', 'out.mcap'), ('in.mcap', 'out.db3'), ('in.db3', 'out'), ('in', 'out.mcap')])
def test_the_input_is_carried_over_unchanged(tmp_path, name, out):
    drive = make_drive(tmp_path, name)
    replay(BagSource(drive), tmp_path / out)
    carried = [m for m in messages(tmp_path / out) if not m.connection.topic.startswith('/vseg')]
    original = messages(drive)
    assert [(m.connection.topic, m.log_time, m.data) for m in carried] == [
        (m.connection.topic, m.log_time, m.data) for m in original]
    for one, other in zip(carried, original, strict=True):
        assert one.connection.msgtype == other.connection.msgtype
        assert one.connection.ext == other.connection.ext
        assert one.connection.msgdef == other.connection.msgdef
    with BagFile(tmp_path / out) as bag:
        assert '/silent' in {connection.topic for connection in bag.connections}


def test_results_carry_header_and_receive_time_of_their_image(tmp_path, drive):
    out = tmp_path / 'out.mcap'
    replay(BagSource(drive), out)
    topics = {m.connection.topic for m in messages(out)}
    assert topics == {'/cam', '/wheel'} | {f'/vseg/ditta/{name}' for name in OUTPUTS}
    for name in OUTPUTS - {'label_info'}:
        found = on(out, f'/vseg/ditta/{name}')
        assert [(stamp_of(m), time, m.header.frame_id) for m, time in found] == [
            (1000 + i * 100, 1050 + i * 100, 'lens') for i in range(5)]
    times = [m.log_time for m in messages(out)]
    assert times == sorted(times)
    (info, time), = on(out, '/vseg/ditta/label_info')
    assert (label_set_of(info), time, stamp_of(info)) == (DRIVING, 1050, 1000)


def test_results_are_what_the_pipeline_said(tmp_path, drive):
    out = tmp_path / 'out.mcap'
    replay(BagSource(drive), out)
    frames = [item.frame for item in BagSource(drive)]
    for frame, (labels, _), (confidence, _), (overlay, _) in zip(
            frames, on(out, '/vseg/ditta/segmentation'), on(out, '/vseg/ditta/confidence'),
            on(out, '/vseg/ditta/overlay/compressed'), strict=True):
        expected = segment(frame)
        assert labels.encoding == confidence.encoding == 'mono8'
        shape = labels.height, labels.width
        assert np.array_equal(labels.data.reshape(shape), expected.labels)
        assert np.array_equal(confidence.data.reshape(shape),
                              np.rint(expected.confidence * 255))
        painted = DRIVING.overlay(frame.image, expected.labels).astype(int)
        assert np.abs(decode_compressed('jpeg', overlay.data) - painted).mean() < 15


def test_more_than_255_classes_need_16_bits(tmp_path, drive):
    many = LabelSet.from_names([f'c{i}' for i in range(300)])
    source = BagSource(drive)
    with ResultBag.open(tmp_path / 'out.mcap', 'ditta', source) as bag:
        for item in source:
            bag.write(item.frame, segment(item.frame, many))
    message, _ = on(tmp_path / 'out.mcap', '/vseg/ditta/segmentation')[-1]
    assert message.encoding == 'mono16'
    labels = decode_labels('mono16', message.height, message.width, message.step, 0, message.data)
    assert labels[0, 0] == 36


def test_late_and_left_out_results_stay_in_order(tmp_path, drive):
    """A clip's results come together, long after its first frame."""
    source, out = BagSource(drive), tmp_path / 'out.mcap'
    frames = [item.frame for item in source]
    with ResultBag.open(out, 'ditta', source) as bag:
        for frame in (frames[1], frames[2], frames[4]):
            bag.write(frame, segment(frame))
    assert [stamp_of(m) for m, _ in on(out, '/vseg/ditta/segmentation')] == [1100, 1200, 1400]
    assert len(on(out, '/cam')) == 5


def test_a_stamp_of_zero_stays_zero_in_the_results(tmp_path, write_bag):
    image = image_message(np.zeros((4, 4, 3), np.uint8), 'rgb8', 0, 'lens')
    source = BagSource(write_bag(tmp_path / 'in.mcap', [('/cam', image, 50), ('/cam', image, 60)]))
    out = tmp_path / 'out.mcap'
    replay(source, out)
    found = on(out, '/vseg/ditta/segmentation')
    assert [(stamp_of(m), time) for m, time in found] == [(0, 50), (0, 60)]


def test_a_replayed_result_bag_gets_new_results(tmp_path, drive):
    replay(BagSource(drive), tmp_path / 'one.mcap')
    replay(BagSource(tmp_path / 'one.mcap'), tmp_path / 'two.mcap')
    replay(BagSource(tmp_path / 'one.mcap'), tmp_path / 'other.mcap', name='virst')
    assert len(on(tmp_path / 'two.mcap', '/vseg/ditta/segmentation')) == 5
    assert len(on(tmp_path / 'other.mcap', '/vseg/ditta/segmentation')) == 5
    assert len(on(tmp_path / 'other.mcap', '/vseg/virst/segmentation')) == 5


def test_diagnostics_join_those_of_the_input(tmp_path, drive):
    source, out = BagSource(drive), tmp_path / 'out.mcap'
    for path, text in ((drive, 'FROZEN'), (out, 'again')):
        source = BagSource(path)
        with ResultBag.open(tmp_path / f'{text}.mcap', 'ditta', source) as bag:
            with pytest.raises(ValueError, match='follow the first frame'):
                bag.write_diagnostics(0, text, {})
            for item in source:
                bag.write(item.frame, segment(item.frame))
            bag.write_diagnostics(1, text, {'fps': 25.5})
        (tmp_path / f'{text}.mcap').replace(out)
    found = [m.status[0] for m, _ in on(out, '/diagnostics')]
    assert {status.message for status in found} == {'FROZEN', 'again'}
    assert (found[0].level, found[0].name) == (1, 'vseg/ditta')
    assert (found[0].values[0].key, found[0].values[0].value) == ('fps', '25.5')


def test_without_a_bag_the_camera_is_written_too(tmp_path, source):
    out = tmp_path / 'out.mcap'
    replay(source, out)
    camera = [item.frame for item in BagSource(out)]
    assert [f.stamp for f in camera] == [item.frame.stamp for item in source]
    assert camera[0].frame_id == 'front_camera'
    for frame, item in zip(camera, source, strict=True):
        assert np.abs(frame.image.astype(int) - item.frame.image).mean() < 12


def test_ctrl_c_keeps_results_and_input_up_to_there(tmp_path, drive, nothing_left):
    source, out = BagSource(drive), tmp_path / 'out.mcap'
    with pytest.raises(KeyboardInterrupt), ResultBag.open(out, 'ditta', source) as bag:
        for index, item in enumerate(source):
            if index == 2:
                raise KeyboardInterrupt
            bag.write(item.frame, segment(item.frame))
    assert len(on(out, '/vseg/ditta/segmentation')) == 2
    assert len(on(out, '/cam')) == 2


@pytest.mark.parametrize('error', [ZeroDivisionError, UserError])
def test_an_error_leaves_nothing(tmp_path, drive, nothing_left, error):
    with pytest.raises(error), ResultBag.open(tmp_path / 'out.mcap', 'd', BagSource(drive)) as bag:
        frame = next(iter(BagSource(drive))).frame
        bag.write(frame, segment(frame))
        raise error
    nothing_left(drive.name, 'raw')


def test_input_and_output_must_differ(tmp_path, drive):
    before = messages(drive)
    with pytest.raises(UserError, match='would replace the input'), \
            ResultBag.open(drive, 'ditta', BagSource(drive)):
        pass
    with pytest.raises(UserError, match='would replace the input'):
        write_camera_bag(BagSource(drive), drive)
    assert len(messages(drive)) == len(before)


def test_results_out_of_order_are_a_defect(tmp_path, drive):
    frames = [item.frame for item in BagSource(drive)]
    with pytest.raises(ValueError, match='in the order of their frames'), \
            ResultBag.open(tmp_path / 'out.mcap', 'd', BagSource(drive)) as bag:
        bag.write(frames[2], segment(frames[2]))
        bag.write(frames[0], segment(frames[0]))
    with pytest.raises(ValueError, match='the segmentation is of stamp'), \
            ResultBag.open(tmp_path / 'out.mcap', 'd', BagSource(drive)) as bag:
        bag.write(frames[0], segment(frames[1]))


def test_types_without_a_definition_are_carried_over(tmp_path, drive):
    """Bags of old distributions leave the definitions to the installation."""
    bare = MessageDefinition(MessageDefinitionFormat.NONE, '')
    with BagWriter(tmp_path / 'out.mcap') as bag:
        for message in messages(drive):
            old = message.connection._replace(msgdef=bare, digest='')
            bag.write_raw(message._replace(connection=old))
    found = messages(tmp_path / 'out.mcap')
    assert [m.data for m in found] == [m.data for m in messages(drive)]
    definitions = {m.connection.topic: m.connection.msgdef.data for m in found}
    assert 'uint32 height' in definitions['/cam']
    assert definitions['/wheel'] == ''


def test_hashes_that_a_file_does_not_carry_are_computed(drive):
    with BagFile(drive) as bag:
        wheel = next(c for c in bag.connections if c.topic == '/wheel')
        assert bag_writer._type_hash(wheel._replace(digest='')) == STORE.hash_rihs01(CUSTOM)


def test_real_video_round_trip(tmp_path, real_data):
    out = tmp_path / 'out.mcap'
    video = open_source(real_data / 'clips' / 'bedroom.mp4')
    short = list(islice(video, 6))
    stamps = [item.frame.stamp for item in short]
    with ResultBag.open(out, 'ditta', video) as bag:
        for item in short:
            bag.write(item.frame, segment(item.frame))
    assert [item.frame.stamp for item in BagSource(out)] == stamps
    assert [stamp_of(m) for m, _ in on(out, '/vseg/ditta/segmentation')] == stamps

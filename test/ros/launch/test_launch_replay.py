"""`replay.launch.py`: a bag in, a bag out, and an exit code that tells how it went."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosidl_runtime_py.utilities import get_message

from vseg_ros.io.message_types import stamp_of

START = 1_700_000_000_000_000_000
OUTPUTS = ('segmentation', 'confidence', 'label_info', 'status')


def read(bag: Path, topic: str) -> list[tuple[int, Any]]:
    """Return the receive times in ns and the messages of a topic."""
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        connections = [each for each in reader.connections if each.topic == topic]
        # For rosbags no connection means all of them. What Humble records describes no types.
        return [(time, deserialize_message(data, get_message(connection.msgtype)))
                for connection, time, data in reader.messages(connections)] if connections else []


@pytest.mark.parametrize(('kind', 'start'), [('raw', START), ('jpeg', 0)])
def test_every_frame_of_a_slow_bag_is_answered(
        launch: Callable[..., Any], drive: Callable[..., Path], params: str, tmp_path: Path,
        kind: str, start: int) -> None:
    out = tmp_path / 'out'
    replay = launch('replay.launch.py', f'bag:={drive(kind, start)}', f'out:={out}', params,
                    'rate:=0.5')
    assert replay.process.wait(200) == 0, replay.log
    assert 'process has died' not in replay.log
    assert re.search(r'12 of 12 images segmented, 0 refused', replay.log)
    labels = read(out, '/vseg/ditta/segmentation')
    assert [stamp_of(message) - start for _, message in labels] == [
        index * 250_000_000 for index in range(12)]
    assert {message.header.frame_id for _, message in labels} == {'lens'}
    assert len(read(out, '/vseg/ditta/confidence')) == 12
    names = read(out, '/vseg/ditta/label_info')[0][1]
    assert names.class_map[0].class_name == 'road'
    assert read(out, '/vseg/ditta/status')[-1][1].frames_out == 12
    assert read(out, '/diagnostics')
    assert not read(out, '/camera/image')
    if start:
        # Recorded by the bag's clock, not by that of the day.
        assert all(start <= time < start + 60 * 10 ** 9 for time, _ in labels)


def test_a_fast_bag_loses_what_the_node_cannot_do_but_not_its_beginning(
        launch: Callable[..., Any], drive: Callable[..., Path], params: str,
        tmp_path: Path) -> None:
    out = tmp_path / 'out'
    replay = launch('replay.launch.py', f'bag:={drive(frames=40)}', f'out:={out}', params,
                    'rate:=20')
    assert replay.process.wait(200) == 0, replay.log
    stamps = [stamp_of(message) for _, message in read(out, '/vseg/ditta/segmentation')]
    assert stamps[0] == START
    status = read(out, '/vseg/ditta/status')[-1][1]
    assert status.frames_in == status.frames_out + status.frames_dropped
    assert status.frames_out == len(stamps) < 40
    assert 'came faster than the node computes' in replay.log


@pytest.mark.parametrize(('namespace', 'node'), [('a/b', '/a/b/ditta'), ('/', '/ditta')])
def test_camera_and_overlay_are_recorded_when_asked_for(
        launch: Callable[..., Any], drive: Callable[..., Path], params: str,
        tmp_path: Path, namespace: str, node: str) -> None:
    out = tmp_path / 'out'
    replay = launch('replay.launch.py', f'bag:={drive(frames=6)}', f'out:={out}', params,
                    'overlay:=true', 'camera:=true', f'namespace:={namespace}', 'rate:=0.5')
    assert replay.process.wait(200) == 0, replay.log
    assert len(read(out, '/camera/image')) == len(read(out, f'{node}/overlay')) == 6


def test_an_output_that_exists_is_kept(launch: Callable[..., Any], drive: Callable[..., Path],
                                       params: str, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    replay = launch('replay.launch.py', f'bag:={drive()}', f'out:={out}', params)
    assert replay.process.wait(60) == 1
    assert f'out:={out} exists: choose another name' in replay.log
    assert not list(out.iterdir())


def test_a_node_that_cannot_start_ends_the_replay(launch: Callable[..., Any],
                                                  drive: Callable[..., Path], params: str,
                                                  tmp_path: Path) -> None:
    replay = launch('replay.launch.py', f'bag:={drive()}', f'out:={tmp_path / "out"}', params,
                    'weights:=/no/such/weights')
    assert replay.process.wait(120) == 1
    assert "configure failed: no weights named '/no/such/weights'" in replay.log
    assert '/vseg/ditta did not start' in replay.log
    assert not (tmp_path / 'out').exists()


def test_a_node_that_dies_ends_the_replay(launch: Callable[..., Any],
                                          drive: Callable[..., Path], params: str,
                                          tmp_path: Path) -> None:
    replay = launch('replay.launch.py', f'bag:={drive(frames=60)}', f'out:={tmp_path / "out"}',
                    params)
    replay.wait_for('Resuming play')
    started = re.search(r'\[ditta-\d+\]: process started with pid \[(\d+)\]', replay.log)
    assert started is not None
    os.kill(int(started[1]), signal.SIGKILL)
    assert replay.process.wait(60) == 1
    assert '/vseg/ditta ended with code -9 during the replay' in replay.log


def test_ctrl_c_leaves_a_bag_that_can_be_read(launch: Callable[..., Any],
                                              drive: Callable[..., Path], params: str,
                                              tmp_path: Path) -> None:
    out = tmp_path / 'out'
    replay = launch('replay.launch.py', f'bag:={drive(frames=200)}', f'out:={out}', params)
    replay.wait_for('WARMING_UP -> ADAPTING')
    replay.end()
    assert read(out, '/vseg/ditta/segmentation')
    assert 'Traceback' not in replay.log

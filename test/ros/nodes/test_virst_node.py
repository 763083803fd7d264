"""The node `virst` as a process over real topics: queries, following, errors, its end."""

from __future__ import annotations

import signal
import subprocess
import time
from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from vseg_ros.nodes.conversions import header_of, nanoseconds_of, stamp_of
from vseg_ros.srv import Query

STEP = 100_000_000
RED = (220, 20, 20)


def pictures(color: tuple[int, int, int] = RED, count: int = 8,
             size: tuple[int, int] = (48, 64)) -> list[Any]:
    """A square of 10 pixels that moves to the right, picture by picture."""
    made = []
    for index in range(count):
        picture = np.full((*size, 3), 90, np.uint8)
        picture[20:30, 4 + 5 * index:14 + 5 * index] = color
        made.append(picture)
    return made


@pytest.fixture
def film(new_camera: Callable[..., Any]) -> Any:
    """A camera that sees a red square."""
    return new_camera(pictures(), '/image')


@pytest.fixture
def hears(new_ears: Callable[..., Any]) -> Any:
    """Subscriptions to the outputs of the node."""
    return new_ears(name='virst')


@pytest.fixture
def node(start_virst: Callable[..., Any]) -> Any:
    """The node, active, with a window of 20 s."""
    made = start_virst({'window.seconds': 20.0})
    assert made.transition('configure', 'activate') == [True, True]
    return made


def ask(node: Any, text: str, **fields: Any) -> Any:
    return node.request(Query, '/query', text=text, **fields)


def answer(ros: Any, node: Any, text: str, **fields: Any) -> Any:
    future = ask(node, text, **fields)
    ros.until(future.done)
    return future.result()


def diagnosed(hears: Any, key: str) -> str:
    """The last value of a key in the diagnostics."""
    values = hears.diagnostics[-1].status[0].values if hears.diagnostics else []
    return next((each.value for each in values if each.key == key), '')


def buffered(film: Any, hears: Any, ros: Any, count: int) -> None:
    """Film until so many images are in the window, and all that were sent are."""
    film.film_until(lambda: int(diagnosed(hears, 'images_buffered') or 0) >= count)
    # An image counts when it comes, and can be asked about when it is decoded.
    ros.until(lambda: hears.statuses[-1].frames_in == film.sent
              == int(diagnosed(hears, 'images_buffered')))


def place(film: Any, stamp: int) -> int:
    """Where the square begins in the picture of a stamp."""
    return 4 + 5 * (stamp // STEP % len(film.pictures))


def test_masks_land_on_the_stamps_of_the_buffered_frames(node: Any, film: Any, hears: Any,
                                                         ros: Any) -> None:
    buffered(film, hears, ros, 5)
    got = answer(ros, node, 'the red thing', masks=Query.Request.ALL)
    assert (got.success, got.message, got.answer) == (True, '', 'Here it is.')
    assert got.score == 1.0
    stamps = [stamp_of(each.header) for each in got.tracked]
    assert stamps == sorted(set(stamps))
    assert set(stamps) <= {STEP * count for count in range(1, film.sent + 1)}
    assert stamps[-1] == STEP * film.sent
    for each, stamp in zip(got.tracked, stamps, strict=True):
        assert (each.header.frame_id, each.visible, each.area) == ('lens', True, 100)
        box = each.box
        assert (box.x_offset, box.y_offset, box.width, box.height) == (
            place(film, stamp), 20, 10, 10)
        assert each.mask.header == each.header
        assert each.mask.format.startswith('mono8; png')
        mask = cv2.imdecode(np.frombuffer(each.mask.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert (mask.shape, mask.dtype) == ((48, 64), np.uint8)
        assert set(np.unique(mask)) == {0, 255}
        assert (mask[20:30, place(film, stamp):place(film, stamp) + 10] == 255).all()
    # The last one is on the topic too.
    ros.until(lambda: hears.masks)
    mask = hears.masks[-1]
    assert (stamp_of(mask.header), mask.encoding, mask.height, mask.width) == (
        stamps[-1], 'mono8', 48, 64)
    assert sorted(set(mask.data)) == [0, 255]


def test_which_masks_and_which_frames(node: Any, film: Any, hears: Any, ros: Any) -> None:
    buffered(film, hears, ros, 5)
    none = answer(ros, node, 'the red thing')
    last = answer(ros, node, 'the red thing', masks=Query.Request.LAST)
    assert [bool(each.mask.data) for each in none.tracked] == [False] * len(none.tracked)
    assert [bool(each.mask.data) for each in last.tracked] == (
        [False] * (len(last.tracked) - 1) + [True])
    times = [each.header.stamp for each in none.tracked]
    some = answer(ros, node, 'the red thing', start=times[1], stop=times[3])
    assert [each.header.stamp for each in some.tracked] == times[1:4]
    nothing = answer(ros, node, 'the green thing', masks=Query.Request.LAST)
    assert (nothing.success, nothing.score, nothing.answer) == (
        True, 0.0, 'There is no such thing.')
    assert not any(each.visible or each.area or each.box.width for each in nothing.tracked)


def test_every_mistake_gets_a_clear_message(start_virst: Callable[..., Any], film: Any,
                                            hears: Any, ros: Any) -> None:
    node = start_virst()
    failures: list[str] = []

    def refused(words: str, text: str = 'the red thing', **fields: Any) -> None:
        got = answer(ros, node, text, **fields)
        assert not got.success
        assert got.message
        assert words in got.message, got.message
        assert '\n' not in got.message
        assert len(got.tracked) == 0
        failures.append(got.message)
    refused('the node is UNCONFIGURED: configure and activate it first')
    assert 'activate it first' in node.call(Trigger, 'stop').message
    assert node.transition('configure') == [True]
    refused('the node is INACTIVE')
    assert node.transition('activate') == [True]
    refused('there is no image yet')
    buffered(film, hears, ros, 3)
    refused('the question is empty', '')
    refused('the question is empty', ' \n\t ')
    refused('the question has 10000 characters', 'x' * 10_000)
    refused('but images are buffered from 0.', start=Time(sec=7_000))
    refused('stop is 0.050000000 s', stop=Time(nanosec=STEP // 2))
    refused('is after stop', start=Time(nanosec=3 * STEP), stop=Time(nanosec=2 * STEP))
    refused('masks is 7: choose one of 0 (NONE), 1 (LAST), 2 (ALL)', masks=7)
    refused('a query failed: RuntimeError: it exploded', 'explode')
    refused('out of memory (no bytes left): ask about fewer frames', 'memory')
    ros.until(lambda: 'out of memory' in hears.statuses[-1].message)
    assert answer(ros, node, 'the red thing').success
    ros.until(lambda: hears.statuses[-1].message == '')
    ros.until(lambda: diagnosed(hears, 'queries_answered') == '1')
    assert int(diagnosed(hears, 'queries_failed')) == 11
    assert node.transition('deactivate') == [True]
    refused('the node is INACTIVE')
    assert node.transition('activate') == [True]
    refused('there is no image yet')
    assert node.end()[0] == 0
    assert node.log.count('Traceback') == 1, 'that of the explosion'


def test_twenty_at_once_are_all_answered(node: Any, film: Any, hears: Any, ros: Any) -> None:
    buffered(film, hears, ros, 3)
    futures = [ask(node, 'the red thing', masks=Query.Request.LAST) for _ in range(20)]
    ros.until(lambda: all(each.done() for each in futures))
    assert all(each.result().success for each in futures)
    assert len({tuple(stamp_of(item.header) for item in each.result().tracked)
                for each in futures}) == 1, 'about the same frames, since the camera stood still'


def test_too_many_at_once_are_refused_and_the_others_answered(
        start_virst: Callable[..., Any], film: Any, hears: Any, ros: Any) -> None:
    node = start_virst({'max_queries': 4})
    assert node.transition('configure', 'activate') == [True, True]
    buffered(film, hears, ros, 3)
    futures = [ask(node, 'a slow red thing'), *(ask(node, 'the red thing') for _ in range(19))]
    ros.until(lambda: all(each.done() for each in futures))
    answers = [each.result() for each in futures]
    served = [each for each in answers if each.success]
    assert 4 <= len(served) <= 5
    assert {each.message for each in answers if not each.success} == {
        '4 queries wait already, as many as max_queries lets: ask again when some are answered'}


def test_camera_is_heard_while_a_query_computes(node: Any, film: Any, hears: Any,
                                                ros: Any) -> None:
    buffered(film, hears, ros, 3)
    future = ask(node, 'a slow red thing')
    began, sent = time.monotonic(), film.sent
    film.film_until(future.done)
    seconds = time.monotonic() - began
    assert future.result().success
    assert film.sent - sent >= 3, 'the query was under way for a while'
    assert seconds < 20
    assert len(future.result().tracked) <= sent + 2, 'it is about what was there when it came'
    ros.until(lambda: hears.statuses[-1].frames_in == film.sent)
    assert hears.statuses[-1].frames_rejected == 0
    after = answer(ros, node, 'the red thing')
    meanwhile = [each for each in after.tracked if stamp_of(each.header) > STEP * sent]
    assert len(meanwhile) > (film.sent - sent) / 2, 'they are in the window'
    assert stamp_of(after.tracked[-1].header) == STEP * film.sent


def test_following_until_the_next_query_and_until_stop(node: Any, film: Any, hears: Any,
                                                       ros: Any) -> None:
    overlays: list[Any] = []
    buffered(film, hears, ros, 3)
    assert node.call(Trigger, 'stop').message == 'nothing was followed'
    assert answer(ros, node, 'the red thing', follow=True).success
    ros.until(lambda: diagnosed(hears, 'following') == 'the red thing')
    ros.node('viewer').create_subscription(Image, '/virst/overlay', overlays.append, 5)
    begin = film.sent
    film.film_until(lambda: len(hears.masks) > 6 and len(overlays) > 2)
    for mask in hears.masks[1:]:
        stamp = stamp_of(mask.header)
        assert stamp > begin * STEP
        assert mask.header.frame_id == 'lens'
        pixels = np.frombuffer(mask.data, np.uint8).reshape(48, 64)
        assert pixels.astype(bool).sum() == 100
        assert (pixels[20:30, place(film, stamp):place(film, stamp) + 10] == 255).all()
    stamps = [stamp_of(mask.header) for mask in hears.masks]
    assert stamps == sorted(set(stamps))
    assert (overlays[-1].encoding, overlays[-1].width) == ('rgb8', 64)
    drawn = np.frombuffer(overlays[-1].data, np.uint8).reshape(48, 64, 3)
    assert drawn[2:10].max() > 200, 'the sentence'
    ros.until(lambda: hears.statuses[-1].output_rate > 0)
    assert hears.statuses[-1].latency_mean > 0

    assert answer(ros, node, 'the green thing').success
    ros.until(lambda: diagnosed(hears, 'following') == '')
    heard, sent = len(hears.masks), film.sent
    film.film_until(lambda: hears.statuses[-1].frames_in > sent + 3)
    assert all(stamp_of(mask.header) <= STEP * sent for mask in hears.masks), (
        'no more than the answer')

    assert answer(ros, node, 'the red thing', follow=True).success
    film.film_until(lambda: len(hears.masks) > heard + 3)
    stopped = node.call(Trigger, 'stop')
    assert (stopped.success, stopped.message) == (True, 'no longer following "the red thing"')
    ros.until(lambda: diagnosed(hears, 'following') == '')
    # A mask may come later than the words that it was the last.
    sent = film.sent
    film.film_until(lambda: hears.statuses[-1].frames_in > sent + 3)
    assert all(stamp_of(mask.header) <= STEP * sent for mask in hears.masks)


def test_following_goes_on_when_the_camera_begins_anew(node: Any, film: Any, hears: Any,
                                                       ros: Any) -> None:
    buffered(film, hears, ros, 3)
    assert answer(ros, node, 'the red thing', follow=True).success
    film.film_until(lambda: len(hears.masks) > 3)
    film.plug_in_again()
    film.film_until(lambda: len(hears.masks) > 3 and stamp_of(hears.masks[-1].header) < 4 * STEP)
    heard = len(hears.masks)
    film.pictures = pictures(size=(60, 80))
    film.film_until(lambda: len(hears.masks) > heard + 3 and hears.masks[-1].width == 80)
    assert hears.statuses[-1].frames_rejected == 0


def test_malformed_images_are_counted_and_not_asked_about(node: Any, film: Any, hears: Any,
                                                          ros: Any) -> None:
    buffered(film, hears, ros, 3)
    for encoding, length in (('rgb8', 47), ('', 48), ('32FC1', 64)):
        before = hears.statuses[-1].frames_rejected
        film.publisher.publish(Image(header=header_of(1, 'lens'), height=4, width=4, step=12,
                                     encoding=encoding, data=array('B', bytes(length))))
        ros.until(lambda before=before: hears.statuses[-1].frames_rejected > before)
        assert 'an image was passed over' in hears.statuses[-1].message
    got = answer(ros, node, 'the red thing')
    assert 3 <= len(got.tracked) <= film.sent
    film.film_until(lambda: not hears.statuses[-1].message)


def test_lifecycle(start_virst: Callable[..., Any], film: Any, hears: Any, ros: Any) -> None:
    node = start_virst()
    assert node.transition('configure', 'activate') == [True, True]
    buffered(film, hears, ros, 2)
    assert hears.states[-1] == 'RUNNING'
    assert answer(ros, node, 'the red thing', follow=True).success
    slow = ask(node, 'a slow red thing')
    waiting = [ask(node, 'the red thing') for _ in range(3)]
    ros.until(lambda: int(diagnosed(hears, 'queries_waiting') or 0) == 4)
    assert node.transition('deactivate') == [True]
    ros.until(lambda: slow.done() and all(each.done() for each in waiting))
    assert slow.result().success, 'what is under way is answered'
    assert {(each.result().success, each.result().message) for each in waiting} == {
        (False, 'the node was deactivated before it came to this query')}
    ros.until(lambda: hears.state == 'INACTIVE')
    ros.until(lambda: film.publisher.get_subscription_count() == 0)
    assert node.transition('cleanup', 'configure', 'activate') == [True] * 3
    film.plug_in_again()
    buffered(film, hears, ros, 2)
    assert answer(ros, node, 'the red thing').success
    assert node.transition('active_shutdown') == [True]
    assert 'the node is FINALIZED: it was shut down for good' in answer(
        ros, node, 'the red thing').message
    assert node.end(signal.SIGTERM)[0] == 0
    assert 'Traceback' not in node.log


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_queries_that_wait_are_told_when_the_node_ends(
        node: Any, film: Any, hears: Any, ros: Any, number: int) -> None:
    buffered(film, hears, ros, 2)
    futures = [ask(node, 'a slow red thing'), *(ask(node, 'the red thing') for _ in range(5))]
    ros.until(lambda: diagnosed(hears, 'queries_waiting') == '6')
    node.process.send_signal(number)
    ros.until(lambda: all(each.done() for each in futures))
    assert {(each.result().success, each.result().message) for each in futures} == {
        (False, 'the node is shutting down')}
    assert node.process.wait(20) == 0
    assert 'Traceback' not in node.log


def test_two_cameras_two_nodes(start_virst: Callable[..., Any], new_camera: Callable[..., Any],
                               new_ears: Callable[..., Any], ros: Any) -> None:
    colors = {'/front': (220, 20, 20), '/rear/vseg': (20, 20, 220)}
    cameras, ears, nodes = {}, {}, {}
    for side, color in colors.items():
        cameras[side] = new_camera(pictures(color), f'{side}/image')
        ears[side] = new_ears(side, 'virst')
        nodes[side] = start_virst(namespace=side)
        assert nodes[side].transition('configure', 'activate') == [True, True]
    front, rear = cameras.values()

    def heard() -> bool:
        if rear.sent < front.sent:
            rear.send()
        return all(each.statuses and each.statuses[-1].frames_in > 3 for each in ears.values())
    front.film_until(heard)
    for side, word in (('/front', 'red'), ('/rear/vseg', 'blue')):
        for text, seen in ((word, True), ('green', False)):
            got = nodes[side].call(Query, f'{side}/query', text=f'the {text} thing')
            assert got.success
            assert got.tracked[-1].visible == seen


def test_from_the_command_line(node: Any, film: Any, hears: Any, ros: Any) -> None:
    buffered(film, hears, ros, 2)
    command = subprocess.Popen(
        ['ros2', 'service', 'call', '/query', 'vseg_ros/srv/Query', "{text: 'the red thing'}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    film.film_until(lambda: command.poll() is not None)
    said = command.communicate()[0]
    assert command.returncode == 0
    assert "success=True, message='', answer='Here it is.', score=1.0" in said
    assert len(said) < 40_000, 'a terminal is not flooded'


def test_zero_times_are_the_whole_window() -> None:
    assert nanoseconds_of(Time()) == 0

"""The node `ditta` as a process over real topics: lifecycle, adaptation, signals."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from std_srvs.srv import Trigger


def test_from_configure_to_shutdown(start: Callable[..., Any], camera: Any, ears: Any,
                                    ros: Any) -> None:
    node = start()
    assert node.transition('configure') == [True]
    ros.until(lambda: ears.state == 'INACTIVE')
    assert node.transition('activate') == [True]
    camera.film_until(lambda: ears.state == 'FROZEN')
    # A node that is up before it is configured may have said that it is not.
    configured = ears.states[ears.states.index('INACTIVE'):]
    assert configured == ['INACTIVE', 'WARMING_UP', 'ADAPTING', 'FROZEN']
    assert ears.statuses[-1].message == ''
    answers = len(ears.segmentations)
    camera.film_until(lambda: len(ears.segmentations) > answers)
    answer = ears.segmentations[-1]
    assert (answer.header.frame_id, answer.encoding) == ('lens', 'mono8')
    stamp = answer.header.stamp.sec * 1_000_000_000 + answer.header.stamp.nanosec
    assert 0 < stamp <= camera.sent * 100_000_000
    assert stamp % 100_000_000 == 0

    assert node.transition('deactivate') == [True]
    ros.until(lambda: ears.state == 'INACTIVE')
    ros.until(lambda: camera.publisher.get_subscription_count() == 0)
    assert node.transition('activate') == [True]
    ros.until(lambda: ears.state == 'FROZEN')
    assert node.transition('deactivate', 'cleanup') == [True, True]
    ros.until(lambda: ears.state == 'UNCONFIGURED')
    assert node.transition('configure', 'activate') == [True, True]
    camera.film_until(lambda: ears.state == 'FROZEN')
    assert node.transition('active_shutdown') == [True]
    ros.until(lambda: ears.state == 'FINALIZED')
    ros.until(lambda: ears.diagnostics[-1].status[0].message == 'FINALIZED')
    assert ears.diagnostics[-1].status[0].level == DiagnosticStatus.WARN
    for service in ('adapt', 'save'):
        assert node.call(Trigger, service).message == (
            'the node is FINALIZED: it was shut down for good, so end its process and start it '
            'anew')
    assert node.end(signal.SIGTERM)[0] == 0
    assert 'Traceback' not in node.log


def test_adapting_again_and_saving(start: Callable[..., Any], camera: Any, ears: Any, ros: Any,
                                   tmp_path: Path) -> None:
    learned = tmp_path / 'learned.safetensors'
    # Long enough that a call finds it learning.
    node = start({'save_adapted_to': learned, 'adaptation.passes': 6})
    refused = node.call(Trigger, 'adapt')
    assert not refused.success
    assert 'UNCONFIGURED' in refused.message
    node.transition('configure')
    refused = node.call(Trigger, 'adapt')
    assert not refused.success
    assert 'activate it first' in refused.message
    node.transition('activate')
    refused = node.call(Trigger, 'adapt')
    assert not refused.success
    assert 'under way (WARMING_UP' in refused.message
    assert 'nothing was adapted' in node.call(Trigger, 'save').message

    camera.film_until(lambda: ears.state == 'ADAPTING')
    assert 'under way (ADAPTING' in node.call(Trigger, 'adapt').message
    camera.film_until(lambda: ears.state == 'FROZEN')
    ros.until(learned.exists)
    written = learned.read_bytes()

    answers = [node.request(Trigger, 'adapt'), node.request(Trigger, 'adapt')]
    ros.until(lambda: all(each.done() for each in answers))
    # asked at the same moment, either may be the first
    refused, taken = sorted((each.result() for each in answers), key=lambda each: each.success)
    assert (refused.success, taken.success) == (False, True)
    assert 'under way' in refused.message
    ros.until(lambda: ears.state == 'WARMING_UP')
    camera.film_until(lambda: ears.state == 'FROZEN')
    learned.unlink()
    assert node.call(Trigger, 'save').success
    assert len(learned.read_bytes()) == len(written)
    assert node.end()[0] == 0

    heard = len(ears.statuses)
    again = start({'adapted_weights': learned})
    again.transition('configure', 'activate')
    ros.until(lambda: 'FROZEN' in [each.state for each in ears.statuses[heard:]])
    assert 'WARMING_UP' not in [each.state for each in ears.statuses[heard:]]
    assert again.end()[0] == 0


def test_adapting_again_from_the_command_line(start: Callable[..., Any], camera: Any,
                                              ears: Any) -> None:
    node = start()
    node.transition('configure', 'activate')
    camera.film_until(lambda: ears.state == 'FROZEN')
    answers = len(ears.segmentations)
    command = subprocess.Popen(
        ['ros2', 'service', 'call', '/ditta/adapt', 'std_srvs/srv/Trigger'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    camera.film_until(lambda: command.poll() is not None)
    said = command.communicate()[0]
    assert command.returncode == 0
    assert "success=True, message='what was learned is dropped; watching the scene anew'" in said
    camera.film_until(lambda: ears.states.count('FROZEN') == 2)
    assert ears.states[-4:] == ['FROZEN', 'WARMING_UP', 'ADAPTING', 'FROZEN']
    assert len(ears.segmentations) > answers + 4, 'labels are sent all the while'


def test_parameters_are_answered_while_it_learns(start: Callable[..., Any], camera: Any,
                                                 ears: Any, ros: Any) -> None:
    node = start({'adaptation.passes': 100})
    node.transition('configure', 'activate')
    camera.film_until(lambda: ears.state == 'ADAPTING')
    client = ros.node('asker').create_client(GetParameters, '/ditta/get_parameters')
    ros.find(client)
    answers = len(ears.segmentations)
    waits = []
    for _ in range(20):
        camera.send()
        began = time.monotonic()
        future = client.call_async(GetParameters.Request(names=['seed']))
        ros.until(future.done)
        waits.append(time.monotonic() - began)
        ros.until(lambda began=began: time.monotonic() > began + 0.05)
    ros.until(lambda: len(ears.segmentations) > answers)
    assert ears.state == 'ADAPTING', 'all were answered while it learned'
    # Who waits for a pass to end waits longer; one may be slow on a busy machine.
    assert sorted(waits)[len(waits) // 2] < 0.5


@pytest.mark.parametrize(('number', 'background'), [
    (signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGINT, False)])
def test_signal_while_it_learns(start: Callable[..., Any], camera: Any, ears: Any,
                                number: int, background: bool) -> None:
    node = start({'adaptation.passes': 100, 'warmup.frames': 12,
                  'adaptation.background': background})
    node.transition('configure', 'activate')
    camera.film_until(lambda: ears.state == 'ADAPTING')
    code, seconds = node.end(number)
    assert code == 0
    assert seconds < 5, 'launch sends the next signal after 5 s'
    assert 'Traceback' not in node.log
    assert 'FROZEN' not in node.log


def test_signal_while_it_loads(start: Callable[..., Any], ros: Any) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    node = start()
    node.request(ChangeState, 'change_state',
                 transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    ros.until(lambda: 'loading' in node.log)
    code, seconds = node.end()
    assert (code, seconds < 5) == (0, True)
    assert 'asked to stop' in node.log


def test_transition_that_the_state_does_not_have(start: Callable[..., Any], ros: Any) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    node = start()
    node.request(ChangeState, 'change_state',
                 transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    ros.until(lambda: 'a callback failed' in node.log)
    assert node.transition('configure') == [True]


def test_what_the_pipeline_logs_is_logged_by_the_node(start: Callable[..., Any], camera: Any,
                                                      ears: Any) -> None:
    node = start({'prompts.min_reliability': 1.0})
    node.transition('configure', 'activate')
    camera.film_until(lambda: ears.state == 'FROZEN')
    assert '[ditta]: no pixel of the warm-up was reliable enough' in node.log
    assert 'the plain segmenter runs on' in ears.statuses[-1].message

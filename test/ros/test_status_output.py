"""A node's state on ~/status and /diagnostics."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from vseg_ros.msg import PipelineStatus as StatusMessage
from vseg_ros.nodes import status_output
from vseg_ros.nodes.qos import latched_profile
from vseg_ros.nodes.status_output import StatusOutput
from vseg_ros.nodes.stream_monitor import StreamMonitor, StreamReport
from vseg_ros.pipeline import PipelineState, PipelineStatus

CALM = dataclasses.replace(
    StreamMonitor().report(0), frames_in=10, frames_out=7, frames_dropped=3, input_rate=24.0,
    output_rate=16.5, latency_mean=0.05, latency_max=0.125)
RUNNING = PipelineStatus(PipelineState.RUNNING)


def published(ros: Any, state: str, status: PipelineStatus, report: StreamReport,
              transport: str = '') -> tuple[StatusMessage, DiagnosticArray]:
    """Publish once, to listeners that are there, and return what both topics carried."""
    node = ros.node('ditta', namespace='vseg')
    if transport:
        node.declare_parameter('image_transport', transport)
    output = StatusOutput(node, 'ditta')
    statuses: list[StatusMessage] = []
    diagnostics: list[DiagnosticArray] = []
    listener = ros.node('listener')
    listener.create_subscription(StatusMessage, '/vseg/ditta/status', statuses.append, 5)
    listener.create_subscription(DiagnosticArray, '/diagnostics', diagnostics.append, 5)
    ros.until(lambda: node.count_subscribers('/vseg/ditta/status')
              and node.count_subscribers('/diagnostics'))

    def both_came() -> bool:
        output.publish(state, status, report)
        return bool(statuses and diagnostics)

    ros.until(both_came)
    return statuses[0], diagnostics[0]


def test_status_and_diagnostics_say_the_same(ros: Any) -> None:
    status, diagnostics = published(
        ros, 'ADAPTING', PipelineStatus(PipelineState.ADAPTING, 0.25), CALM)
    assert (status.pipeline, status.state, status.message) == ('ditta', 'ADAPTING', '')
    assert status.state == StatusMessage.ADAPTING
    assert (status.progress, status.latency_max, status.output_rate) == (0.25, 0.125, 16.5)
    assert (status.frames_in, status.frames_out, status.frames_dropped) == (10, 7, 3)
    assert status.header.stamp.sec > 0
    [entry] = diagnostics.status
    assert (entry.level, entry.name, entry.message) == (
        DiagnosticStatus.OK, 'vseg/ditta', 'ADAPTING')
    assert diagnostics.header == status.header
    values = {pair.key: pair.value for pair in entry.values}
    assert values['state'] == 'ADAPTING'
    for name in ('frames_in', 'frames_lost', 'latency_max', 'output_rate', 'progress'):
        assert float(values[name]) == pytest.approx(getattr(status, name), rel=1e-3)


@pytest.mark.parametrize(('state', 'message', 'changes', 'level', 'says'), [
    ('RUNNING', 'no image for 7 s', {}, DiagnosticStatus.WARN, 'no image for 7 s'),
    ('FAILED', 'no such weights', {}, DiagnosticStatus.ERROR, 'no such weights'),
    ('RUNNING', '', {'last_rejection': 'odd step'}, DiagnosticStatus.WARN, 'odd step'),
    ('RUNNING', '', {'lately_lost': 5}, DiagnosticStatus.WARN, '5 images were lost'),
    ('RUNNING', '', {'frames_lost': 5, 'frames_rejected': 2}, DiagnosticStatus.OK, 'RUNNING')])
def test_trouble_has_a_level_and_a_line(ros: Any, state: str, message: str,
                                        changes: dict[str, Any], level: bytes,
                                        says: str) -> None:
    pipeline = dataclasses.replace(RUNNING, message=message)
    status, diagnostics = published(ros, state, pipeline, dataclasses.replace(CALM, **changes))
    [entry] = diagnostics.status
    assert entry.level == level
    assert says in entry.message
    if level != DiagnosticStatus.OK:
        assert says in status.message


@pytest.mark.parametrize(('middleware', 'advice'), [
    ('rmw_cyclonedds_cpp', 'raise net.core.rmem_max'),
    ('rmw_fastrtps_cpp', "enlarge the receive buffer by rmw_fastrtps_cpp's own settings")])
def test_a_larger_buffer_is_advised_as_the_middleware_takes_it(
        ros: Any, monkeypatch: pytest.MonkeyPatch, middleware: str, advice: str) -> None:
    monkeypatch.setattr(status_output, 'get_rmw_implementation_identifier', lambda: middleware)
    status, _ = published(ros, 'RUNNING', RUNNING, dataclasses.replace(CALM, lately_lost=5))
    assert status.message.startswith(f'5 images were lost on the way here: {advice}')
    assert ('rmem_max' in status.message) == (middleware == 'rmw_cyclonedds_cpp')


@pytest.mark.parametrize(('transport', 'advised'), [
    ('', True), ('raw', True), ('compressed', False)])
def test_smaller_images_are_advised_where_they_are_large(ros: Any, transport: str,
                                                         advised: bool) -> None:
    status, _ = published(ros, 'RUNNING', RUNNING, dataclasses.replace(CALM, lately_lost=5),
                          transport)
    assert '5 images were lost' in status.message
    assert ('image_transport to compressed' in status.message) == advised


def test_the_last_status_reaches_who_comes_late(ros: Any) -> None:
    output = StatusOutput(ros.node('ditta'), 'ditta')
    for state in ('WARMING_UP', 'FROZEN'):
        output.publish(state, RUNNING, CALM)
    got: list[str] = []
    ros.node('late').create_subscription(
        StatusMessage, 'ditta/status', lambda message: got.append(message.state),
        latched_profile())
    ros.until(lambda: got)
    assert got == ['FROZEN']

"""
A node's state for people and machines: ~/status and, with a level, /diagnostics.

It is made with the node, before any weights are loaded, so that a node that could not be
configured can still say why.
"""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Header

from vseg_ros.msg import PipelineStatus as StatusMessage
from vseg_ros.nodes.qos import latched_profile, output_profile
from vseg_ros.nodes.receive_buffer import how_to_enlarge
from vseg_ros.nodes.stream_monitor import StreamReport
from vseg_ros.pipeline import PipelineStatus

_FROM_REPORT = ('input_rate', 'output_rate', 'latency_mean', 'latency_max', 'frames_in',
                'frames_out', 'frames_dropped', 'frames_rejected', 'frames_lost')


class StatusOutput:
    """
    Publishes ~/status (latched) and /diagnostics.

    Args:
        node: the publisher.
        pipeline: name of the pipeline.

    """

    def __init__(self, node: Node, pipeline: str) -> None:
        self._node = node
        self._pipeline = pipeline
        self._status = node.create_publisher(StatusMessage, '~/status', latched_profile())
        self._diagnostics = node.create_publisher(
            DiagnosticArray, '/diagnostics', output_profile())

    def publish(self, state: str, status: PipelineStatus, report: StreamReport,
                more: Mapping[str, object] | None = None) -> None:
        """
        Publish the state on both topics; any thread may call.

        Args:
            state: a state of PipelineStatus.msg; in the diagnostics FAILED is an error, and
                FINALIZED a warning.
            status: progress, and what a person should know; any message is a warning.
            report: figures of the stream; bad and lost images are warnings too.
            more: what the diagnostics show beside these.

        """
        # Not the stamp of an image: a state is news just when no image comes.
        header = Header(stamp=self._node.get_clock().now().to_msg())
        figures = {name: getattr(report, name) for name in _FROM_REPORT}
        text = status.message or self._complaint(report)
        self._status.publish(StatusMessage(
            header=header, pipeline=self._pipeline, state=state, progress=float(status.progress),
            message=text, **figures))
        self._diagnostics.publish(DiagnosticArray(header=header, status=[DiagnosticStatus(
            level=_level(state, text), name=self._node.get_fully_qualified_name().lstrip('/'),
            message=text or state, values=[
                KeyValue(key=key, value=f'{value:.4g}' if isinstance(value, float) else str(value))
                for key, value in {'state': state, 'progress': status.progress,
                                   **figures, **(more or {})}.items()])]))

    def _complaint(self, report: StreamReport) -> str:
        """Say what is wrong with the stream; empty if nothing is."""
        if report.last_rejection:
            return f'an image was passed over: {report.last_rejection}'
        if report.lately_lost:
            compressed = (self._node.has_parameter('image_transport')
                          and self._node.get_parameter('image_transport').value == 'compressed')
            other = '' if compressed else ', or set image_transport to compressed'
            return (f'{report.lately_lost} images were lost on the way here: '
                    f'{how_to_enlarge(get_rmw_implementation_identifier())}{other}')
        return ''


def _level(state: str, text: str) -> bytes:
    levels: dict[str, bytes] = {StatusMessage.FAILED: DiagnosticStatus.ERROR,
                                StatusMessage.FINALIZED: DiagnosticStatus.WARN}
    calm: bytes = DiagnosticStatus.WARN if text else DiagnosticStatus.OK
    return levels.get(state, calm)

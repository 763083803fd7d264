"""
The life of a node's process: arguments, spinning, signals and the exit code.

rclpy's own signal handlers tear the context down at once, so that a node could neither leave its
lifecycle state nor publish a last status. Here SIGINT and SIGTERM end the spinning, the node then
shuts itself down while ROS still runs, and the process exits with 0. What a user got wrong
(arguments, parameter files) is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, runtime_checkable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from vseg_ros.errors import UserError
from vseg_ros.nodes.receive_buffer import ask_for_large_buffer

SIGNAL_DELAY = 0.1
"""Longest that a signal waits to be seen, in seconds: nothing interrupts rclpy's own wait."""

stop_requested = threading.Event()
"""Set by the first SIGINT or SIGTERM; whoever keeps the executor waiting should look at it."""

FAREWELL = 1.0
"""Longest that a node that ends still sends answers to requests that waited, in seconds."""

_SOURCE_PLACE = re.compile(r', at \S+:\d+')


@runtime_checkable
class KeepsRequests(Protocol):
    """A node whose services do not answer at once."""

    @property
    def open_requests(self) -> int:
        """Requests that have no answer yet."""
        ...

    def close_requests(self) -> None:
        """Answer every one of them: the process is about to end."""
        ...


def run(make_node: Callable[[], Node], name: str, description: str,
        arguments: Sequence[str] | None = None) -> int:
    """
    Run a node until SIGINT, SIGTERM or the end of its context.

    Args:
        make_node: called once ROS is there; its `destroy_node` must end in a few seconds.
        name: of the program.
        description: what `--help` says of it.
        arguments: the command line with the program's path; None takes that of this process.

    Returns:
        the exit code: 0, or 2 if arguments or parameter files are wrong.

    """
    arguments = sys.argv if arguments is None else arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    try:
        _start_ros(arguments, name, description)
        node = make_node()
    except UserError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        rclpy.try_shutdown()
        return 2
    with _python_logs_to(node):
        try:
            _spin(node)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    return 0


def leave(code: int) -> None:
    """End the process; a thread that is deep in a computation is not waited for."""
    if threading.active_count() == 1:
        sys.exit(code)
    # The interpreter would free the libraries under that thread and could crash.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _start_ros(arguments: Sequence[str], name: str, description: str) -> None:
    parser = argparse.ArgumentParser(
        prog=name, description=description, epilog='Everything else is set by ROS arguments: '
        '--ros-args -r image:=/camera/image_raw --params-file FILE -p name:=value --log-level '
        'debug')
    try:
        parser.parse_args(remove_ros_args(arguments)[1:])
        ask_for_large_buffer()
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise UserError(_SOURCE_PLACE.sub('', str(error))) from error


def _request_stop(number: int, frame: FrameType | None) -> None:
    stop_requested.set()


def _spin(node: Node) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop_requested.is_set():
            try:
                executor.spin_once(timeout_sec=SIGNAL_DELAY)
            except ExternalShutdownException:
                break
            except Exception:
                # Such as a lifecycle transition that the present state does not have: rclpy lets
                # the callback fail, and one bad request must not end the node.
                node.get_logger().error(f'a callback failed:\n{traceback.format_exc()}')
        _answer_open_requests(node, executor)
    finally:
        executor.shutdown()


def _answer_open_requests(node: Node, executor: SingleThreadedExecutor) -> None:
    """Let a node that keeps requests waiting tell the clients that no answer will come."""
    if not isinstance(node, KeepsRequests) or not rclpy.ok():
        return
    node.close_requests()
    end = time.monotonic() + FAREWELL
    while node.open_requests and time.monotonic() < end:
        executor.spin_once(timeout_sec=SIGNAL_DELAY)


class _RosLogHandler(logging.Handler):
    """Hands log records of Python to the node's logger, and so to the console and /rosout."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record; each severity has a line of its own because rclpy ties it to one."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def _python_logs_to(node: Node) -> Iterator[None]:
    handler = _RosLogHandler(node)
    root, ours = logging.getLogger(), logging.getLogger('vseg_ros')
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)

"""
What the nodes of all pipelines share: one lifecycle node around one pipeline.

configure   checks the parameters, loads the weights, makes the outputs and the worker thread.
activate    subscribes to the camera. A callback only puts the image into the worker's mailbox,
            so the executor always answers.
deactivate  lets the camera go; frames that wait for others are answered, and the pipeline keeps
            what it has learned.
cleanup     frees everything; then it can be configured anew.

rclpy swallows what a transition raises, so `_transition` logs it and answers FAILURE. Timers run
on the steady clock: with `use_sim_time` the ROS clock may stand still or jump back.
"""

from __future__ import annotations

import functools
import gc
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future as RosFuture
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.errors import UserError
from vseg_ros.msg import PipelineStatus as StatusMessage
from vseg_ros.nodes.camera_subscription import CameraSubscription
from vseg_ros.nodes.conversions import frame_of, stamp_of
from vseg_ros.nodes.declared_parameters import DeclaredParameters, ModelType
from vseg_ros.nodes.outputs import Outputs
from vseg_ros.nodes.running import SIGNAL_DELAY, stop_requested
from vseg_ros.nodes.status_output import StatusOutput
from vseg_ros.nodes.stream_monitor import StreamMonitor
from vseg_ros.nodes.worker import Worker
from vseg_ros.pipeline import PipelineState, PipelineStatus, SegmentationPipeline, create_pipeline

T = TypeVar('T')

TICK = 0.2
"""Time between two looks at the state of the pipeline and at the camera, in seconds."""

STOP_TIMEOUT = 3.0
"""Longest that a transition waits for the step under way, in seconds; launch kills after 5."""

UNCONFIGURED = 'UNCONFIGURED'
"""State of a node that has no pipeline yet, or no longer."""

_SECOND = 1_000_000_000

_AFTER_FAILURE = {'on_configure': TransitionCallbackReturn.FAILURE,
                  'on_activate': TransitionCallbackReturn.FAILURE}
"""These leave the node in the state that it was in; after any other it must be freed."""

Transition = Callable[['VideoNode[Any]', LifecycleState], None]
GuardedTransition = Callable[['VideoNode[Any]', LifecycleState], TransitionCallbackReturn]


def _transition(method: Transition) -> GuardedTransition:
    """Make a lifecycle callback of a method: what it raises is logged, shown, and a failure."""
    @functools.wraps(method)
    def guarded(node: VideoNode[Any], state: LifecycleState) -> TransitionCallbackReturn:
        node.begin_transition()
        try:
            method(node, state)
        except UserError as error:
            node.fail(method.__name__, str(error))
        except Exception as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            node.fail(method.__name__, reason, error)
        else:
            return TransitionCallbackReturn.SUCCESS
        return _AFTER_FAILURE.get(method.__name__, TransitionCallbackReturn.ERROR)
    return guarded


class VideoNode(LifecycleNode, Generic[ModelType]):
    """
    A pipeline as a lifecycle node.

    Args:
        pipeline: its name, and the node's until it is remapped.
        model: the parameters; inherits from `NodeSettings` and the pipeline's settings.
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    Attributes:
        declared: the parameters.
        pipeline: None until configured; used on the worker's thread alone but for its status.
        active: whether images are taken.

    """

    def __init__(self, pipeline: str, model: type[ModelType], **options: Any) -> None:
        super().__init__(pipeline, **options)
        self.pipeline_name = pipeline
        self.pipeline: SegmentationPipeline | None = None
        self.active = False
        self.worker: Worker[Image | CompressedImage] | None = None
        self.declared = DeclaredParameters(self, model, self._settings_changed)
        self._status_output = StatusOutput(self, pipeline)
        self._outputs: Outputs | None = None
        self._camera: CameraSubscription | None = None
        self._monitor = StreamMonitor()
        self._problem = ''
        self._shown_state = ''
        self._next_status = 0
        self._status_lock = threading.Lock()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ticks = self.create_timer(TICK, self._tick, clock=steady)

    @property
    def state(self) -> str:
        """What the node is doing: the pipeline's state while it is active."""
        pipeline = self.pipeline
        if pipeline is None:
            return str(StatusMessage.FAILED) if self._problem else UNCONFIGURED
        return pipeline.status.state.value if self.active else str(StatusMessage.INACTIVE)

    def make_pipeline(self, settings: ModelType) -> SegmentationPipeline:
        """
        Load the weights; called by configure.

        Raises:
            UserError: weights, device or what else the settings name are not there.

        """
        return create_pipeline(self.pipeline_name, settings)

    def patience(self, settings: ModelType) -> float | None:
        """
        Tell how long frames may wait for the next before `pipeline.finish` answers them.

        Returns:
            seconds, or None if the pipeline answers every frame at once.

        """
        return None

    def take_settings(self, settings: ModelType) -> None:
        """Give changed parameters to the pipeline; called on the worker's thread."""

    def after_step(self) -> None:
        """Look at the pipeline after a frame or a command; called on the worker's thread."""
        self.show_status()

    def outcome_of(self, command: Future[T]) -> RosFuture:
        """Return a command of the worker as something that a callback of ROS can await."""
        outcome = RosFuture(executor=self.executor)

        def done(command: Future[T]) -> None:
            error = command.exception()
            if error is None:
                outcome.set_result(command.result())
            else:
                outcome.set_exception(error)
            executor = self.executor
            if executor is not None:
                executor.wake()

        command.add_done_callback(done)
        return outcome

    def require_worker(self) -> Worker[Image | CompressedImage]:
        """
        Return the worker.

        Raises:
            UserError: the node is not configured.

        """
        if self.worker is None:
            raise UserError(f'the node is {self.state}: configure and activate it first')
        return self.worker

    @_transition
    def on_configure(self, state: LifecycleState) -> None:
        """Load the weights, make the outputs and start the worker thread."""
        began = time.monotonic()
        settings = self.declared.settings
        self.declared.locked = True
        self.get_logger().info(f'loading {settings.model_name}')
        self.pipeline = self._load(settings)
        self._monitor = StreamMonitor()
        self._outputs = Outputs(self, self.pipeline.label_set)
        self.worker = Worker(self.pipeline, frame_of, self._outputs.publish, self._monitor,
                             self.after_step, self.patience(settings))
        self.worker.start()
        super().on_configure(state)
        self.get_logger().info(
            f'configured in {time.monotonic() - began:.1f} s: {settings.model_name} with '
            f'{len(self.pipeline.label_set)} classes')
        self.show_status(now=True)

    @_transition
    def on_activate(self, state: LifecycleState) -> None:
        """Subscribe to the camera."""
        super().on_activate(state)
        compressed = self.declared.settings.image_transport == 'compressed'
        self._camera = CameraSubscription(self, compressed, self._on_image)
        self.get_logger().info(f'listening to {self._camera}')
        for name in self.declared.unused_qos_overrides():
            self.get_logger().warning(f'{name} is of no use: the node has no such topic or policy')
        self.active = True
        self.show_status(now=True)

    @_transition
    def on_deactivate(self, state: LifecycleState) -> None:
        """Let the camera go."""
        self._unsubscribe()
        if self.patience(self.declared.settings) is not None:
            wait([self.require_worker().answer_waiting()], STOP_TIMEOUT)
        super().on_deactivate(state)
        self.show_status(now=True)

    @_transition
    def on_cleanup(self, state: LifecycleState) -> None:
        """Free networks and outputs."""
        self._release()
        super().on_cleanup(state)
        self.show_status(now=True)

    @_transition
    def on_shutdown(self, state: LifecycleState) -> None:
        """Free everything for good."""
        self._release()
        super().on_shutdown(state)
        self.show_status(now=True)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a transition that failed halfway, so that all can begin anew."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def begin_transition(self) -> None:
        """Forget why an earlier transition failed."""
        self._problem = ''

    def fail(self, transition: str, reason: str, error: Exception | None = None) -> None:
        """Log and show why a transition failed, and undo the half of it that was done."""
        name = transition.removeprefix('on_')
        if error is None:
            self.get_logger().error(f'{name} failed: {reason}')
        else:
            lines = ''.join(traceback.format_exception(error))
            self.get_logger().error(f'{name} failed: {reason}\n{lines}')
        if transition == 'on_configure':
            self._release()
        elif transition == 'on_activate':
            self._unsubscribe()
        self._problem = f'{name} failed: {reason}'
        self.show_status(now=True)

    def destroy_node(self) -> None:
        """Shut down in a few seconds, whatever state the node is in."""
        with suppress(RuntimeError):  # there is no such transition once it is finalized
            self.trigger_shutdown()
        self._release()
        super().destroy_node()

    def _load(self, settings: ModelType) -> SegmentationPipeline:
        """Make the pipeline in a thread: loading can take minutes, and a signal ends the wait."""
        loading: Future[SegmentationPipeline] = Future()

        def load() -> None:
            try:
                loading.set_result(self.make_pipeline(settings))
            except BaseException as error:
                loading.set_exception(error)

        threading.Thread(target=load, name='loading', daemon=True).start()
        while not wait([loading], SIGNAL_DELAY).done:
            if stop_requested.is_set():
                raise UserError('the process was asked to stop while the weights were loading')
        return loading.result()

    def _release(self) -> None:
        self._unsubscribe()
        if self.worker is not None and not self.worker.stop(STOP_TIMEOUT):
            self.get_logger().warning(
                f'the pipeline did not stop within {STOP_TIMEOUT:g} s: it ends by itself when '
                'its step is done')
        if self._outputs is not None:
            self._outputs.destroy()
        self.worker, self._outputs, self.pipeline = None, None, None
        self.declared.locked = False
        gc.collect()

    def _unsubscribe(self) -> None:
        self.active = False
        if self._camera is not None:
            self._camera.destroy()
            self._camera = None
        if self.worker is not None:
            self.worker.clear()

    def _on_image(self, message: Image | CompressedImage) -> None:
        # There is no managed subscription: an image may still come after deactivation.
        if not self.active or self.worker is None:
            return
        self._monitor.received(stamp_of(message.header), time.monotonic_ns())
        self.worker.put(message)

    def _settings_changed(self) -> None:
        if self.worker is not None:
            settings = self.declared.settings
            self.worker.submit(lambda: self.take_settings(settings)).add_done_callback(
                self._log_failure)

    def _log_failure(self, outcome: Future[None]) -> None:
        if outcome.exception() is not None:
            self.get_logger().error(f'the new parameters do not count: {outcome.exception()}')

    def _tick(self) -> None:
        self.show_status()
        camera, silence = self._camera, self._silence()
        if camera is not None and silence:
            camera.warn_of_silence(silence)

    def _silence(self) -> float:
        """Return for how many seconds no image came; 0 while that is no cause for worry."""
        camera = self._camera
        if camera is None:
            return 0.0
        report = self._monitor.report(time.monotonic_ns())
        silence = camera.silence(report.seconds_since_image)
        return silence if silence >= self.declared.settings.image_timeout else 0.0

    def show_status(self, now: bool = False) -> None:
        """
        Publish status and diagnostics if the state changed or the period is over.

        Args:
            now: publish in any case.

        """
        at = time.monotonic_ns()
        with self._status_lock:
            state = self.state
            if not now and state == self._shown_state and at < self._next_status:
                return
            if self._shown_state not in ('', state):
                self.get_logger().info(f'{self._shown_state} -> {state}')
            self._shown_state = state
            self._next_status = at + int(self.declared.settings.status_period * _SECOND)
            self._status_output.publish(state, self._status(), self._monitor.report(at))

    def _status(self) -> PipelineStatus:
        """Return the pipeline's status with the most pressing message."""
        worker, pipeline = self.worker, self.pipeline
        status = PipelineStatus(PipelineState.RUNNING) if pipeline is None else pipeline.status
        message = self._problem or (worker.trouble if worker else '') or self._silent_text()
        return replace(status, message=message) if message else status

    def _silent_text(self) -> str:
        camera, silence = self._camera, self._silence()
        return f'no image on {camera.topic} for {silence:.0f} s' if camera and silence else ''

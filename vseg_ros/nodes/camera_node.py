"""
What all nodes share: the life of a lifecycle node that listens to one camera.

configure   checks the parameters, loads the weights, makes the outputs and the threads that work.
activate    subscribes to the camera. A callback only hands the image to a thread, so the executor
            always answers.
deactivate  lets the camera go.
cleanup     frees everything; then it can be configured anew.
shutdown    frees everything for good: nothing leads out of that state.

What is loaded, and what becomes of an image, is the subclass's. rclpy swallows what a transition
raises, so `_transition` logs it and answers FAILURE. With `autostart` the node takes the first two
steps by itself, so that no request has to reach it. Timers run on the steady clock: with
`use_sim_time` the ROS clock may stand still or jump back.
"""

from __future__ import annotations

import functools
import gc
import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping
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
from vseg_ros.nodes.conversions import stamp_of
from vseg_ros.nodes.declared_parameters import DeclaredParameters, ModelType
from vseg_ros.nodes.running import SIGNAL_DELAY, stop_requested
from vseg_ros.nodes.status_output import StatusOutput
from vseg_ros.nodes.stream_monitor import StreamMonitor
from vseg_ros.pipeline import PipelineState, PipelineStatus

T = TypeVar('T')
Method = TypeVar('Method')

TICK = 0.2
"""Time between two looks at the state of the node and at the camera, in seconds."""

STOP_TIMEOUT = 3.0
"""Longest that a transition waits for the step under way, in seconds; launch kills after 5."""

_SECOND = 1_000_000_000

_AFTER_FAILURE = {'on_configure': TransitionCallbackReturn.FAILURE,
                  'on_activate': TransitionCallbackReturn.FAILURE}
"""These leave the node in the state that it was in; after any other it must be freed."""

Transition = Callable[['CameraNode[Any, Any]', LifecycleState], None]
GuardedTransition = Callable[['CameraNode[Any, Any]', LifecycleState], TransitionCallbackReturn]


def _transition(method: Transition) -> GuardedTransition:
    """Make a lifecycle callback of a method: what it raises is logged, shown, and a failure."""
    @functools.wraps(method)
    def guarded(node: CameraNode[Any, Any], state: LifecycleState) -> TransitionCallbackReturn:
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


class CameraNode(LifecycleNode, Generic[ModelType, Method]):
    """
    A method of this package as a lifecycle node.

    Args:
        name: of the method, and of the node until it is remapped.
        model: the parameters; inherits from `NodeSettings` and the method's settings.
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    Attributes:
        declared: the parameters.
        active: whether images are taken.

    """

    def __init__(self, name: str, model: type[ModelType], **options: Any) -> None:
        super().__init__(name, **options)
        self.active = False
        self.declared = DeclaredParameters(self, model, self.settings_changed)
        self._status_output = StatusOutput(self, name)
        self._camera: CameraSubscription | None = None
        self._monitor = StreamMonitor()
        self._has_left = self._finalized = False
        self._problem = ''
        self._shown_state = ''
        self._next_status = 0
        self._status_lock = threading.Lock()
        self._next_step = self.trigger_configure if self.declared.settings.autostart else None
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ticks = self.create_timer(TICK, self._tick, clock=steady)

    @property
    @abstractmethod
    def configured(self) -> bool:
        """Whether the method is loaded."""

    @abstractmethod
    def load(self, settings: ModelType) -> Method:
        """
        Load the weights; called by configure, in a thread of its own.

        Raises:
            UserError: weights, device or what else the settings name are not there.

        """

    @abstractmethod
    def set_up(self, method: Method, settings: ModelType) -> str:
        """Make outputs and threads for what was loaded; return what it is, for the log."""

    @abstractmethod
    def take_image(self, message: Image | CompressedImage) -> None:
        """Hand an image over; must return at once."""

    @abstractmethod
    def drop_images(self) -> None:
        """Throw away the images that wait: the camera is let go."""

    def answer_waiting_images(self) -> None:
        """Answer what can still be answered before the outputs fall silent."""

    @abstractmethod
    def tear_down(self) -> None:
        """End the threads and take the outputs away; whatever was set up, or nothing."""

    def settings_changed(self) -> None:
        """Look at the settings that were replaced."""

    def method_status(self) -> PipelineStatus:
        """Return what the method is doing; any thread may call."""
        return PipelineStatus(PipelineState.RUNNING)

    def trouble(self) -> str:
        """Return why the last image or request failed; empty if it did not."""
        return ''

    def figures(self) -> Mapping[str, object]:
        """Return what the diagnostics show beside the stream's figures."""
        return {}

    @property
    def state(self) -> str:
        """What the node is doing: the method's state while it is active."""
        if self._finalized:
            return str(StatusMessage.FINALIZED)
        if not self.configured:
            return str(StatusMessage.FAILED if self._problem else StatusMessage.UNCONFIGURED)
        return self.method_status().state.value if self.active else str(StatusMessage.INACTIVE)

    def refusal(self) -> UserError:
        """Return why a request that needs an active node cannot be answered, and what to do."""
        steps = ('it was shut down for good, so end its process and start it anew'
                 if self._finalized else
                 'activate it first' if self.configured else 'configure and activate it first')
        return UserError(f'the node is {self.state}: {steps}')

    def outcome_of(self, command: Future[T]) -> RosFuture:
        """Return what a thread is at as something that a callback of ROS can await."""
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

    @_transition
    def on_configure(self, state: LifecycleState) -> None:
        """Load the weights, make the outputs and start the threads."""
        began = time.monotonic()
        settings = self.declared.settings
        self.declared.locked = True
        self.get_logger().info(f'loading {settings.model_name}')
        method = self._load(settings)
        self._monitor = StreamMonitor()
        what = self.set_up(method, settings)
        super().on_configure(state)
        self.get_logger().info(f'configured in {time.monotonic() - began:.1f} s: {what}')
        if self.declared.settings.autostart:
            self._next_step = self.trigger_activate
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
        self.answer_waiting_images()
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
        self._finalized = True
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
        if self._has_left:
            return
        self._has_left = True
        with suppress(RuntimeError):  # there is no such transition once it is finalized
            self.trigger_shutdown()
        self._release()
        super().destroy_node()
        # rclpy's state machine keeps the lifecycle services for as long as anybody knows the
        # node, as a thread that still computes does. DDS would hold the node for alive for ten
        # seconds more, and what is asked of the next one of its name would be lost.
        if hasattr(self, '_state_machine'):
            del self._state_machine

    def _load(self, settings: ModelType) -> Method:
        """Load in a thread: that can take minutes, and a signal ends the wait."""
        loading: Future[Method] = Future()

        def load() -> None:
            try:
                loading.set_result(self.load(settings))
            except BaseException as error:
                loading.set_exception(error)

        threading.Thread(target=load, name='loading', daemon=True).start()
        while not wait([loading], SIGNAL_DELAY).done:
            if stop_requested.is_set():
                raise UserError('the process was asked to stop while the weights were loading')
        return loading.result()

    def _release(self) -> None:
        self._unsubscribe()
        self.tear_down()
        self.declared.locked = False
        gc.collect()

    def _unsubscribe(self) -> None:
        self.active = False
        if self._camera is not None:
            self._camera.destroy()
            self._camera = None
        self.drop_images()

    def _on_image(self, message: Image | CompressedImage) -> None:
        # There is no managed subscription: an image may still come after deactivation.
        if not self.active or not self.configured:
            return
        self._monitor.received(stamp_of(message.header), time.monotonic_ns())
        self.take_image(message)

    def _tick(self) -> None:
        self._take_next_step()
        self.show_status()
        camera, silence = self._camera, self._silence()
        if camera is not None and silence:
            camera.warn_of_silence(silence)

    def _take_next_step(self) -> None:
        """Go on with starting by itself; a transition cannot begin within another."""
        step, self._next_step = self._next_step, None
        if step is not None:
            with suppress(RuntimeError):  # somebody else was faster
                step()

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
            self._status_output.publish(state, self._status(), self._monitor.report(at),
                                        self.figures())

    def _status(self) -> PipelineStatus:
        """Return the method's status with the most pressing message."""
        status = self.method_status()
        message = self._problem or self.trouble() or self._silent_text()
        return replace(status, message=message) if message else status

    def _silent_text(self) -> str:
        camera, silence = self._camera, self._silence()
        return f'no image on {camera.topic} for {silence:.0f} s' if camera and silence else ''

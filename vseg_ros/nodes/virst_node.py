#!/usr/bin/env python3
"""
The node `virst`: ask in words for an object, get its mask, and have it followed.

camera callback -> intake thread: decodes -> window of recent frames -> thread of the queries.

The service `query` takes a sentence and answers with a mask track of the window; the frames are
those that were buffered when the request came. The callback only queues the question and awaits
its outcome, so the executor goes on with the camera meanwhile. With `follow`, every new frame gets
~/mask and ~/overlay until the next query or ~/stop.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import Future as Outcome
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.frame_window import FrameWindow
from vseg_ros.nodes.camera_node import STOP_TIMEOUT, CameraNode
from vseg_ros.nodes.conversions import frame_of, nanoseconds_of
from vseg_ros.nodes.frame_intake import FrameIntake
from vseg_ros.nodes.mask_messages import check_masks, response_of
from vseg_ros.nodes.mask_outputs import MaskOutputs
from vseg_ros.nodes.parameters import VirstNodeSettings
from vseg_ros.nodes.qos import request_profile
from vseg_ros.nodes.query_worker import QueryWorker
from vseg_ros.nodes.running import leave, run
from vseg_ros.srv import Query
from vseg_ros.video_query import VideoQuery, check_question, create_video_query


class VirstNode(CameraNode[VirstNodeSettings, VideoQuery]):
    """
    VIRST on a camera.

    Args:
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    """

    def __init__(self, **options: Any) -> None:
        self.worker: QueryWorker | None = None
        self._intake: FrameIntake[Image | CompressedImage] | None = None
        self._window: FrameWindow | None = None
        self._outputs: MaskOutputs | None = None
        self._taking = threading.Lock()
        self._answered = self._failed = self._open = 0
        super().__init__('virst', VirstNodeSettings, **options)
        # A query that waits must not keep the next one from being queued.
        group = ReentrantCallbackGroup()
        self.create_service(Query, 'query', self._answer_query, qos_profile=request_profile(),
                            callback_group=group)
        self.create_service(Trigger, '~/stop', self._answer_stop, callback_group=group)

    @property
    def configured(self) -> bool:
        """Whether the model is loaded."""
        return self.worker is not None

    @property
    def open_requests(self) -> int:
        """Queries that have no answer yet."""
        return self._open

    def load(self, settings: VirstNodeSettings) -> VideoQuery:
        """Load the model."""
        return create_video_query(settings)

    def set_up(self, method: VideoQuery, settings: VirstNodeSettings) -> str:
        """Make the window, the outputs and the two threads."""
        self._answered = self._failed = 0
        self._window = FrameWindow(settings.window)
        self._outputs = MaskOutputs(self)
        self._intake = FrameIntake(frame_of, self._take_frame, self._monitor)
        self.worker = QueryWorker(method, settings.max_queries, self._outputs.publish,
                                  self._monitor, self.show_status)
        self._intake.start()
        self.worker.start()
        return (f'{settings.model_name}, a window of {settings.window.seconds:g} s in at most '
                f'{settings.window.max_frames} images')

    def take_image(self, message: Image | CompressedImage) -> None:
        """Leave the image for the intake."""
        if self._intake is not None:
            self._intake.put(message)

    def drop_images(self) -> None:
        """Forget the window; queries that wait are told why, and nothing is followed."""
        if self._intake is not None:
            self._intake.clear()
        with self._taking:  # an image that is taken at this moment is forgotten too
            if self._window is not None:
                self._window.clear()
        if self.worker is not None:
            self.worker.pause('the node was deactivated before it came to this query')

    def tear_down(self) -> None:
        """End the threads and take the topics away."""
        if self._intake is not None:
            self._intake.stop(STOP_TIMEOUT)
        if self.worker is not None and not self.worker.stop(STOP_TIMEOUT):
            self.get_logger().warning(
                f'the query under way did not end within {STOP_TIMEOUT:g} s: it ends by itself')
        if self._outputs is not None:
            self._outputs.destroy()
        self.worker, self._outputs, self._intake, self._window = None, None, None, None

    def trouble(self) -> str:
        """Return why the last query or image failed."""
        worker = self.worker
        return worker.trouble if worker else ''

    def figures(self) -> Mapping[str, object]:
        """Return what became of the queries."""
        worker, window = self.worker, self._window
        return {'following': worker.following if worker else '',
                'queries_waiting': self._open, 'queries_answered': self._answered,
                'queries_failed': self._failed, 'images_buffered': len(window) if window else 0}

    def close_requests(self) -> None:
        """Answer the queries that wait, and the one under way: the process is about to end."""
        if self.worker is not None:
            self.worker.close()

    def _take_frame(self, frame: Frame, received: int) -> None:
        with self._taking:
            if self._window is None or self.worker is None or not self.active:
                return
            self._window.append(frame)
            self.worker.put(frame, received)

    def _require_active(self) -> tuple[QueryWorker, FrameWindow]:
        if self.worker is None or self._window is None or not self.active:
            raise self.refusal()
        return self.worker, self._window

    def _ask(self, request: Query.Request) -> Outcome[Query.Response]:
        worker, window = self._require_active()
        text, masks = check_question(request.text), check_masks(request.masks)
        frames = window.select(nanoseconds_of(request.start), nanoseconds_of(request.stop))
        return worker.ask(frames, text, bool(request.follow),
                          lambda frames, track: response_of(frames, track, masks))

    async def _answer_query(self, request: Query.Request,
                            response: Query.Response) -> Query.Response:
        self._open += 1
        try:
            response = await self.outcome_of(self._ask(request))
            self._answered += 1
        except UserError as error:
            response.message = str(error)
            self._failed += 1
        except Exception as error:
            self.get_logger().error(''.join(traceback.format_exception(error)))
            response.message = f'{type(error).__name__}: {error}'
            self._failed += 1
        finally:
            self._open -= 1
        return response

    def _answer_stop(self, request: Trigger.Request,
                     response: Trigger.Response) -> Trigger.Response:
        try:
            worker, _ = self._require_active()
            text = worker.stop_following()
            response.message = f'no longer following "{text}"' if text else 'nothing was followed'
            response.success = True
        except UserError as error:
            response.message = str(error)
        return response


def main() -> None:
    """Run the node."""
    leave(run(VirstNode, 'virst', 'Ask in words for an object: its mask, and its track.'))


if __name__ == '__main__':
    main()

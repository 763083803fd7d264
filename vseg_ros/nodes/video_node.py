"""
What the segmentation nodes share: one lifecycle node around one pipeline.

Images go into the mailbox of the worker thread, which alone uses the pipeline. When the node is
deactivated, frames that wait for others are answered, and the pipeline keeps what it has learned.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Any, TypeVar

from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.models.device_overlay import overlay_for
from vseg_ros.nodes.camera_node import STOP_TIMEOUT, CameraNode
from vseg_ros.nodes.conversions import frame_of
from vseg_ros.nodes.outputs import Outputs
from vseg_ros.nodes.parameters import PipelineNodeSettings
from vseg_ros.nodes.worker import Worker
from vseg_ros.pipeline import PipelineStatus, SegmentationPipeline, create_pipeline

PipelineModel = TypeVar('PipelineModel', bound=PipelineNodeSettings)


class VideoNode(CameraNode[PipelineModel, SegmentationPipeline]):
    """
    A pipeline as a lifecycle node.

    Args:
        pipeline: its name, and the node's until it is remapped.
        model: the parameters; inherits from `PipelineNodeSettings` and the pipeline's settings.
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    Attributes:
        pipeline: None until configured; used on the worker's thread alone but for its status.

    """

    def __init__(self, pipeline: str, model: type[PipelineModel], **options: Any) -> None:
        self.pipeline_name = pipeline
        self.pipeline: SegmentationPipeline | None = None
        self.worker: Worker[Image | CompressedImage] | None = None
        self._outputs: Outputs | None = None
        super().__init__(pipeline, model, **options)

    def make_pipeline(self, settings: PipelineModel) -> SegmentationPipeline:
        """
        Load the weights; called by configure.

        Raises:
            UserError: weights, device or what else the settings name are not there.

        """
        return create_pipeline(self.pipeline_name, settings)

    def patience(self, settings: PipelineModel) -> float | None:
        """
        Tell how long frames may wait for the next before `pipeline.finish` answers them.

        Returns:
            seconds, or None if the pipeline answers every frame at once.

        """
        return None

    def take_settings(self, settings: PipelineModel) -> None:
        """Give changed parameters to the pipeline; called on the worker's thread."""

    def after_step(self) -> None:
        """Look at the pipeline after a frame or a command; called on the worker's thread."""
        self.show_status()

    def require_worker(self) -> Worker[Image | CompressedImage]:
        """
        Return the worker.

        Raises:
            UserError: the node is not configured.

        """
        if self.worker is None:
            raise self.refusal()
        return self.worker

    @property
    def configured(self) -> bool:
        """Whether there is a pipeline."""
        return self.pipeline is not None

    def load(self, settings: PipelineModel) -> SegmentationPipeline:
        """Make the pipeline."""
        return self.make_pipeline(settings)

    def set_up(self, method: SegmentationPipeline, settings: PipelineModel) -> str:
        """Make the outputs and start the worker thread."""
        self.pipeline = method
        self._outputs = Outputs(self, method.label_set,
                                overlay_for(method.label_set, settings.device))
        self.worker = Worker(method, frame_of, self._outputs.publish, self._monitor,
                             self.after_step, self.patience(settings))
        self.worker.start()
        return f'{settings.model_name} with {len(method.label_set)} classes'

    def take_image(self, message: Image | CompressedImage) -> None:
        """Leave the image for the worker."""
        if self.worker is not None:
            self.worker.put(message)

    def drop_images(self) -> None:
        """Throw away the image that waits for the worker."""
        if self.worker is not None:
            self.worker.clear()

    def answer_waiting_images(self) -> None:
        """Answer the frames that wait for others."""
        if self.patience(self.declared.settings) is not None:
            wait([self.require_worker().answer_waiting()], STOP_TIMEOUT)

    def tear_down(self) -> None:
        """End the worker and take the topics away."""
        if self.worker is not None and not self.worker.stop(STOP_TIMEOUT):
            self.get_logger().warning(
                f'the pipeline did not stop within {STOP_TIMEOUT:g} s: it ends by itself when '
                'its step is done')
        if self._outputs is not None:
            self._outputs.destroy()
        self.worker, self._outputs, self.pipeline = None, None, None

    def settings_changed(self) -> None:
        """Let the worker's thread give new settings to the pipeline."""
        if self.worker is not None:
            settings = self.declared.settings
            self.worker.submit(lambda: self.take_settings(settings)).add_done_callback(
                self._log_failure)

    def method_status(self) -> PipelineStatus:
        """Return the pipeline's status."""
        pipeline = self.pipeline
        return super().method_status() if pipeline is None else pipeline.status

    def trouble(self) -> str:
        """Return why the last image gave no segmentation."""
        worker = self.worker
        return worker.trouble if worker else ''

    def _log_failure(self, outcome: Future[None]) -> None:
        if outcome.exception() is not None:
            self.get_logger().error(f'the new parameters do not count: {outcome.exception()}')

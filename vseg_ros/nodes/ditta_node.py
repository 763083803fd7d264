#!/usr/bin/env python3
"""
The node `ditta`: video segmentation that adapts itself to the scene.

Beside the topics of every `VideoNode` it has ~/adapt (drop what was learned, watch and learn
again) and ~/save (write what was learned to `save_adapted_to`). What an adaptation comes to is
written there by itself as well; `adapted_weights` reads such a file on configure.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future as Outcome
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from vseg_ros.errors import UserError
from vseg_ros.nodes.parameters import DittaNodeSettings
from vseg_ros.nodes.running import leave, run
from vseg_ros.nodes.video_node import VideoNode
from vseg_ros.pipeline import PipelineState, SegmentationPipeline

if TYPE_CHECKING:
    from vseg_ros.ditta.pipeline import DittaPipeline


class DittaNode(VideoNode[DittaNodeSettings]):
    """
    DiTTA on a camera.

    Args:
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    """

    def __init__(self, **options: Any) -> None:
        super().__init__('ditta', DittaNodeSettings, **options)
        self._adapt_pending = False
        self._last_state = PipelineState.WARMING_UP
        # A request that waits for the worker must not keep the next one from being answered.
        group = ReentrantCallbackGroup()
        self.create_service(Trigger, '~/adapt', self._answer_adapt, callback_group=group)
        self.create_service(Trigger, '~/save', self._answer_save, callback_group=group)

    def make_pipeline(self, settings: DittaNodeSettings) -> SegmentationPipeline:
        """Load the weights, and what was learned earlier if `adapted_weights` names it."""
        pipeline = super().make_pipeline(settings)
        self._last_state = pipeline.status.state
        return pipeline

    def take_settings(self, settings: DittaNodeSettings) -> None:
        """Give the pipeline what its next warm-up and adaptation use."""
        self._ditta.settings = settings

    def after_step(self) -> None:
        """Write what was learned when an adaptation has ended."""
        super().after_step()
        state = self._ditta.status.state
        ended = state is PipelineState.FROZEN and self._last_state is not state
        self._last_state = state
        if ended and self.declared.settings.save_adapted_to:
            try:
                self.get_logger().info(self._save())
            except UserError as error:
                self.get_logger().error(f'what was learned is not saved: {error}')

    @property
    def _ditta(self) -> DittaPipeline:
        return cast('DittaPipeline', self.pipeline)

    def _start_adapting(self) -> Outcome[str]:
        worker = self.require_worker()
        if not self.active:
            raise self.refusal()
        status = self._ditta.status
        if self._adapt_pending or status.state is not PipelineState.FROZEN:
            raise UserError(f'an adaptation is under way ({status.state.value}, '
                            f'{status.progress:.0%}): wait until the state is FROZEN')
        self._adapt_pending = True
        outcome = worker.submit(self._adapt)
        outcome.add_done_callback(self._adapt_done)
        return outcome

    def _adapt(self) -> str:
        self._ditta.adapt()
        return 'what was learned is dropped; watching the scene anew'

    def _adapt_done(self, outcome: Outcome[str]) -> None:
        self._adapt_pending = False

    def _start_saving(self) -> Outcome[str]:
        worker = self.require_worker()
        if not self.declared.settings.save_adapted_to:
            raise UserError('the parameter save_adapted_to names no file: set it first')
        return worker.submit(self._save)

    def _save(self) -> str:
        path = Path(self.declared.settings.save_adapted_to).expanduser()
        self._ditta.save(path)
        return f'what was learned is saved to {path}'

    async def _answer_adapt(self, request: Trigger.Request,
                            response: Trigger.Response) -> Trigger.Response:
        return await self._answer(response, self._start_adapting)

    async def _answer_save(self, request: Trigger.Request,
                           response: Trigger.Response) -> Trigger.Response:
        return await self._answer(response, self._start_saving)

    async def _answer(self, response: Trigger.Response,
                      start: Callable[[], Outcome[str]]) -> Trigger.Response:
        try:
            response.message = await self.outcome_of(start())
            response.success = True
        except UserError as error:
            response.message = str(error)
        except Exception as error:
            self.get_logger().error(''.join(traceback.format_exception(error)))
            response.message = f'{type(error).__name__}: {error}'
        return response


def main() -> None:
    """Run the node."""
    leave(run(DittaNode, 'ditta', 'Video segmentation that adapts itself to the scene.'))


if __name__ == '__main__':
    main()

"""DiTTA with a SAM 2 of random weights as its teacher, loaded from a folder as a user would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.ditta.propagation import PredictedFrame, track_objects
from vseg_ros.frame import Frame
from vseg_ros.models.tracker import create_tracker
from vseg_ros.pipeline import PipelineState
from vseg_ros.settings import PromptSettings


@pytest.fixture(scope='module')
def sam2_folder(tmp_path_factory: pytest.TempPathFactory, tiny_sam2: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp('sam2')
    torch.manual_seed(2)
    Sam2VideoModel(Sam2VideoConfig(**tiny_sam2)).save_pretrained(path)
    return path


def test_adapts_with_point_prompts_and_releases_the_teacher(
        sam2_folder: Path, new_pipeline: Callable[..., DittaPipeline],
        video: Callable[..., list[Frame]]) -> None:
    # every class gets a prompt, at the border of the image too: peaks of reliability lie there
    pipeline = new_pipeline({'tracker': str(sam2_folder), 'prompts.min_reliability': 0.0})
    for frame in video(6):
        assert len(pipeline.step(frame)) == 1
    assert pipeline.status.message == ''
    assert pipeline.status.state is PipelineState.FROZEN
    assert len(pipeline.history) == 2 * 4
    assert any(step['contrastive'] > 0 for step in pipeline.history)
    assert pipeline._tracker is None


def test_a_prompt_in_the_last_corner_is_inside_the_image(sam2_folder: Path) -> None:
    reliability = np.zeros((24, 32), np.float32)
    reliability[-1, -1] = 1
    frame = PredictedFrame(np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8),
                           reliability)
    tracks = track_objects([frame, frame], create_tracker(str(sam2_folder)), PromptSettings())
    assert 1 in tracks[0]

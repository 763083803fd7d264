"""
Speed of the mask trackers.

    python benchmarks/tracker.py [--side 256] [--objects 8] [--threads 1]

Optical flow is timed on a moving texture, per frame with everything it needs, forward and on the
way back over kept flow. SAM 2 is timed on a network of the tiny model's shape with random weights
at a smaller input: all objects in one batch against the same objects one by one, and against
transformers' own loop; look at the ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.models import sam2_tracker
from vseg_ros.models.flow_tracker import FlowTracker
from vseg_ros.models.sam2_images import model_image, model_mask
from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.models.sam2_tracker import Sam2Session

FRAMES = 8


def video(width: int, height: int, frames: int) -> list[UInt8Array]:
    """Make uint8 [H, W, 3] views of a texture that moves by 5 pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width + 5 * frames, 3))
    texture = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 3)
    texture = np.clip((texture - 127) * 6 + 127, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(texture[:, 5 * t:5 * t + width]) for t in range(frames)]


def boxes(width: int, height: int, count: int) -> Iterator[BoolArray]:
    """Make `count` masks bool [H, W], each of a twentieth of the frame."""
    box_height, box_width = height // 4, width // 5
    generator = np.random.default_rng(1)
    for _ in range(count):
        y = int(generator.integers(height - box_height))
        x = int(generator.integers(width // 2, width - box_width))
        mask = np.zeros((height, width), np.bool_)
        mask[y:y + box_height, x:x + box_width] = True
        yield mask


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the CPU time of one of the `repeats` steps that `work` takes."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / repeats * 1e3


def flow(width: int, height: int, count: int) -> tuple[float, float]:
    """Return the milliseconds a frame forward, and backward over kept flow."""
    session = FlowTracker().open()
    frames = video(width, height, FRAMES)
    session.append(frames[0])
    for key, mask in enumerate(boxes(width, height, count)):
        session.add_mask(0, key, mask)

    def forward() -> None:
        for image in frames[1:]:
            session.track(session.append(image))

    def backward() -> None:
        for index in reversed(range(FRAMES - 1)):
            session.track(index)
    return milliseconds(forward, FRAMES - 1), milliseconds(backward, FRAMES - 1)


def random_model(side: int) -> Sam2VideoModel:
    """Make a tiny SAM 2 for images of `side` pixels."""
    grid = side // 16
    vision = {'model_type': 'sam2_vision_model',
              'backbone_config': {'model_type': 'sam2_hiera_det_model',
                                  'image_size': [side, side]},
              'backbone_feature_sizes': [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2]}
    config = Sam2VideoConfig(vision_config=vision, image_size=side,
                             prompt_encoder_config={'image_size': side},
                             memory_attention_rope_feat_sizes=[grid, grid])
    torch.manual_seed(0)
    return Sam2VideoModel(config).eval().requires_grad_(False)


def ours(model: Sam2VideoModel, frames: list[UInt8Array], masks: list[BoolArray],
         at_once: int) -> float:
    """Return the milliseconds a frame, without the image encoder."""
    sam2_tracker.OBJECTS_AT_ONCE = at_once
    session = Sam2Session(Sam2Network(model))
    for image in frames:
        session.append(image)
    session.add_mask(len(frames) - 1, 0, masks[0])
    for index in reversed(range(len(frames))):
        session.track(index)
    session.forget_objects()
    for key, mask in enumerate(masks):
        session.add_mask(0, key, mask)
    return milliseconds(lambda: [session.track(index) for index in range(1, len(frames))],
                        len(frames) - 1)


def transformers_loop(model: Sam2VideoModel, frames: list[UInt8Array],
                      masks: list[BoolArray]) -> float:
    """Return the milliseconds a frame of transformers' own session, without the encoder."""
    device, side = torch.device('cpu'), int(model.image_size)
    images = torch.cat([model_image(image, side, device, torch.float32) for image in frames])
    session = Sam2VideoInferenceSession(
        video=images, video_height=frames[0].shape[0], video_width=frames[0].shape[1],
        dtype=torch.float32, max_vision_features_cache_size=len(frames))
    for key, mask in enumerate(masks):
        place = session.obj_id_to_idx(key)
        session.add_mask_inputs(place, 0, model_mask(mask, side, device, torch.float32))
        session.obj_with_new_inputs.append(key)
    with torch.inference_mode():
        for index in range(len(frames)):
            model._prepare_vision_features(session, index, 1)
    model(session, frame_idx=0)
    return milliseconds(lambda: [model(session, frame_idx=index)
                                 for index in range(1, len(frames))], len(frames) - 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description='Speed of the mask trackers.')
    parser.add_argument('--side', type=int, default=256, help='input of SAM 2 in pixels')
    parser.add_argument('--objects', type=int, default=8, help='objects that SAM 2 tracks')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    print('optical flow, CPU ms a frame    forward   back over kept flow')
    for width, height in ((480, 360), (1280, 720)):
        for count in (1, 10):
            forward, backward = flow(width, height, count)
            print(f'{width:5}x{height:<4} {count:3} objects {forward:15.1f} {backward:15.1f}')
    model = random_model(arguments.side)
    frames = video(320, 240, FRAMES)
    masks = list(boxes(320, 240, arguments.objects))
    print(f'SAM 2 tiny at {arguments.side} pixels, {arguments.objects} objects, CPU ms a frame')
    theirs = transformers_loop(model, frames, masks)
    looped = ours(model, frames, masks, 1)
    batched = ours(model, frames, masks, 16)
    print(f'transformers {theirs:9.1f}\none by one   {looped:9.1f} ({theirs / looped:.2f} x)\n'
          f'in a batch   {batched:9.1f} ({theirs / batched:.2f} x; {looped / batched:.2f} x '
          'one by one)')


if __name__ == '__main__':
    main()

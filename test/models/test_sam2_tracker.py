"""SAM 2's tracker against transformers' own, on small networks with random weights."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    PreTrainedModel,
    Sam2VideoConfig,
    Sam2VideoModel,
)
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vseg_ros.errors import UserError
from vseg_ros.models import sam2_tracker
from vseg_ros.models.sam2_images import frame_masks, model_image, model_mask, model_points
from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.models.sam2_tracker import Sam2Session, Sam2Tracker, load_model
from vseg_ros.models.tracker import create_tracker
from vseg_ros.weights import find_weights

SIDE, HEIGHT, WIDTH = 64, 90, 160
FRAMES = np.random.default_rng(5).integers(0, 256, (24, HEIGHT, WIDTH, 3)).astype(np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
MASK[20:60, 30:90] = True


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Give every parameter a value that matters; fresh ones are zeros and tiny weights."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            torch.nn.init.normal_(parameter, std=1.2 / fan_in ** 0.5, generator=generator)
        elif 'norm' not in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_sam2: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp('sam2')
    randomized(Sam2VideoModel(Sam2VideoConfig(**tiny_sam2))).save_pretrained(path)
    return path


@pytest.fixture(scope='module')
def edgetam_folder(tmp_path_factory: pytest.TempPathFactory,
                   tiny_sam2: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp('edgetam')
    config = EdgeTamVideoConfig(**tiny_sam2, memory_attention_rope_k_sizes=[2, 2],
                                memory_attention_mlp_hidden_size=64,
                                perceiver_resampler_num_latents=4,
                                perceiver_resampler_num_latents_2d=4)
    randomized(EdgeTamVideoModel(config)).save_pretrained(path)
    return path


class Reference:
    """transformers' own session with one object."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.double()
        images = [model_image(frame, SIDE, torch.device('cpu'), torch.float64)[0]
                  for frame in FRAMES]
        self.session = Sam2VideoInferenceSession(
            video=torch.stack(images), video_height=HEIGHT, video_width=WIDTH,
            dtype=torch.float64)
        self.index = self.session.obj_id_to_idx(1)

    def point(self, frame: int, points: list[tuple[float, float]], labels: list[int],
              ) -> torch.Tensor:
        scaled = (torch.tensor(points) * torch.tensor([SIDE / WIDTH, SIDE / HEIGHT])).double()
        self.session.add_point_inputs(self.index, frame, {
            'point_coords': scaled[None, None], 'point_labels': torch.tensor([[labels]])})
        self.session.obj_with_new_inputs.append(1)
        return self.step(frame)

    def mask(self, frame: int, mask: np.ndarray) -> torch.Tensor:
        self.session.add_mask_inputs(
            self.index, frame, model_mask(mask, SIDE, torch.device('cpu'), torch.float64))
        self.session.obj_with_new_inputs.append(1)
        return self.step(frame)

    def step(self, frame: int, reverse: bool = False) -> torch.Tensor:
        output = self.model(self.session, frame_idx=frame, reverse=reverse)
        return output.pred_masks[0, 0]


def opened(folder: Path) -> Sam2Session:
    """
    Open a session in double precision on FRAMES.

    SAM 2 rounds its memories to bfloat16. In float32 the order of a sum decides now and then
    which way, and that is seen in the logits; in double precision it practically never is.
    """
    model = load_model(find_weights(str(folder))).double().eval()
    session = Sam2Session(Sam2Network(model))
    for frame in FRAMES:
        session.append(frame)
    return session


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('order', [range(3, 11), range(20, 12, -1)])
@pytest.mark.parametrize('prompt', ['point', 'points', 'mask'])
def test_equals_transformers_for_one_object(folder: Path, prompt: str, order: range) -> None:
    reference = Reference(Sam2VideoModel.from_pretrained(folder))
    follows_reference(opened(folder), reference, prompt, order)


def test_edgetam_equals_transformers(edgetam_folder: Path) -> None:
    reference = Reference(EdgeTamVideoModel.from_pretrained(edgetam_folder))
    follows_reference(opened(edgetam_folder), reference, 'point', range(0, 7))


def follows_reference(session: Sam2Session, reference: Reference, prompt: str,
                      order: range) -> None:
    start, *rest = order
    if prompt == 'point':
        expected = reference.point(start, [(50.0, 40.0)], [1])
        mask = session.add_point(start, 1, (50, 40))
    elif prompt == 'points':
        expected = reference.point(start, [(50.0, 40.0), (100.5, 7.0)], [1, 0])
        mask = session.add_points(start, 1, [(50, 40), (100.5, 7)], [True, False])
    else:
        expected = reference.mask(start, MASK)
        mask = session.add_mask(start, 1, MASK)
    same(session.logits[1], expected)
    assert np.array_equal(mask, frame_masks([expected], (HEIGHT, WIDTH))[0])
    seen = []
    for index in rest:
        expected = reference.step(index, reverse=order.step < 0)
        mask = session.track(index)[1]
        same(session.logits[1], expected)
        assert (mask != frame_masks([expected], (HEIGHT, WIDTH))[0]).mean() < 1e-3
        seen.append(expected)
    assert min((a - b).abs().max() for a, b in itertools.pairwise(seen)) > 1e-2
    if prompt == 'mask':
        assert (session.add_mask(rest[-1], 1, MASK) != MASK).mean() < 0.03


@pytest.mark.parametrize('family', ['folder', 'edgetam_folder'])
def test_a_batch_equals_one_object_at_a_time(family: str, request: pytest.FixtureRequest,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    folder = request.getfixturevalue(family)

    def run() -> dict[int, torch.Tensor]:
        session = opened(folder)
        session.add_mask(0, 1, MASK)
        session.add_point(0, 2, (10, 10))
        session.add_point(0, 3, (120, 70))
        for index in range(1, 8):
            session.track(index)
            if index == 4:
                session.add_point(4, 4, (80, 80))
                session.add_point(4, 5, (20, 80))
        return dict(session.logits)
    batched, sizes = run(), []
    attend = Sam2Network.segment_remembered

    def counted(self: Sam2Network, features: object, memories: list) -> object:
        sizes.append(len(memories))
        return attend(self, features, memories)
    monkeypatch.setattr(Sam2Network, 'segment_remembered', counted)
    run()
    assert max(sizes) == 3
    monkeypatch.setattr(sam2_tracker, 'OBJECTS_AT_ONCE', 1)
    sizes.clear()
    alone = run()
    assert max(sizes) == 1
    assert batched.keys() == alone.keys() == {1, 2, 3, 4, 5}
    for key, logits in alone.items():
        same(batched[key], logits)


def test_an_object_added_midway_is_tracked_as_if_alone(folder: Path) -> None:
    together, alone = opened(folder), opened(folder)
    together.add_mask(0, 1, MASK)
    for index in range(1, 6):
        assert set(together.track(index)) == {1}
    together.add_point(5, 2, (90, 30))
    alone.add_point(5, 2, (90, 30))
    for index in range(6, 11):
        masks = together.track(index)
        assert set(masks) == {1, 2}
        assert masks[2].shape == (HEIGHT, WIDTH)
        assert masks[2].dtype == np.bool_
        alone.track(index)
        same(together.logits[2], alone.logits[2])


def test_memory_stays_bounded_and_images_are_encoded_once(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    encode = Sam2Network.encode_image

    def counted(self: Sam2Network, pixels: torch.Tensor) -> object:
        encoded.append(1)
        return encode(self, pixels)
    monkeypatch.setattr(Sam2Network, 'encode_image', counted)
    session = Sam2Tracker(str(folder), 'cpu').open()
    for index in range(60):
        session.append(FRAMES[index % len(FRAMES)])
        session.track(index)
        if index == 0:
            session.add_mask(0, 1, MASK)
        remembered = session._objects[1].recent.values()
        assert len(remembered) <= 4
        assert sum(memory.spatial is not None for memory in remembered) <= 3
    assert len(remembered) == 4
    session.forget_objects()
    session.add_mask(59, 2, MASK)
    for index in range(58, -1, -1):
        assert set(session.track(index)) == {2}
    assert len(encoded) == 60


def test_features_kept_are_bounded_and_made_again(folder: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    full = opened(folder)
    monkeypatch.setattr(sam2_tracker, 'KEPT_FEATURES', 2)
    short = opened(folder)
    for session in (full, short):
        session.add_mask(0, 1, MASK)
        for index in (1, 2, 3, 4, 3, 2, 1):
            session.track(index)
        same(session.logits[1], full.logits[1])
    assert len(short._features) == 2


def test_a_hidden_object_is_all_false(folder: Path, tmp_path: Path) -> None:
    model = Sam2VideoModel.from_pretrained(folder)
    model.mask_decoder.pred_obj_score_head.proj_out.weight.data.zero_()
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(-1)
    model.save_pretrained(tmp_path)
    session = opened(tmp_path)
    assert session.add_mask(0, 1, MASK).any()
    assert not session.track(1)[1].any()


def test_release_and_open_again(folder: Path) -> None:
    tracker = create_tracker(str(folder))
    assert (tracker.name, tracker.wants_masks) == (str(folder), False)
    tracker.release()
    session = tracker.open()
    session.append(FRAMES[0])
    assert session.track(0) == {}
    assert session.add_mask(0, 7, MASK).shape == (HEIGHT, WIDTH)
    assert set(session.track(0)) == {7}
    session.close()
    with pytest.raises(IndexError):
        session.track(0)


def test_half_precision_runs(folder: Path) -> None:
    session = create_tracker(str(folder), 'cpu', 'bfloat16').open()
    for frame in FRAMES[:3]:
        session.append(frame)
    session.add_point(0, 1, (50, 40))
    session.add_mask(0, 2, MASK)
    session.track(1)
    assert set(session.track(2)) == {1, 2}
    assert session.logits[1].dtype == torch.bfloat16


def test_points_are_scaled_to_the_square_of_the_model() -> None:
    points = model_points([(0, 0), (WIDTH, HEIGHT)], (HEIGHT, WIDTH), SIDE, torch.device('cpu'))
    np.testing.assert_allclose(points[0, 0], [(0, 0), (SIDE, SIDE)])


def test_images_are_normalized() -> None:
    white = model_image(np.full((9, 16, 3), 255, np.uint8), 8, torch.device('cpu'), torch.float32)
    assert white.shape == (1, 3, 8, 8)
    np.testing.assert_allclose(white[0, :, 3, 3], [2.2489, 2.4286, 2.64], atol=1e-3)


def test_wrong_prompts_are_named(folder: Path) -> None:
    session = opened(folder)
    with pytest.raises(ValueError, match='inside 160x90'):
        session.add_point(0, 1, (160, 3))
    with pytest.raises(ValueError, match='flags'):
        session.add_points(0, 1, [(3, 3)], [])
    with pytest.raises(ValueError, match='bool'):
        session.add_mask(0, 1, MASK[:-1])
    with pytest.raises(IndexError):
        session.add_point(24, 1, (3, 3))
    session.add_mask(0, 1, MASK)
    with pytest.raises(ValueError, match='next to'):
        session.track(2)
    with pytest.raises(ValueError, match='on frame 0'):
        session.add_mask(1, 2, MASK)


def test_damaged_checkpoints_are_the_users_error(folder: Path, tmp_path: Path) -> None:
    def lacks_weights(path: Path) -> None:
        (path / 'model.safetensors').unlink()

    def truncated(path: Path) -> None:
        weights = path / 'model.safetensors'
        weights.write_bytes(weights.read_bytes()[:1000])

    def no_configuration(path: Path) -> None:
        (path / 'config.json').unlink()

    def no_json(path: Path) -> None:
        (path / 'config.json').write_text('{')

    damages: list[Callable[[Path], None]] = [lacks_weights, truncated, no_configuration, no_json]
    for damage in damages:
        path = tmp_path / damage.__name__
        shutil.copytree(folder, path)
        damage(path)
        with pytest.raises(UserError) as caught:
            create_tracker(str(path))
        assert str(path) in str(caught.value)
        assert '\n' not in str(caught.value)


def test_other_models_and_missing_weights_are_the_users_error(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import SegformerConfig
    SegformerConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match='segformer'):
        create_tracker(str(tmp_path))
    partial = Sam2VideoModel.from_pretrained(folder)
    state = {k: v for k, v in partial.state_dict().items() if 'memory_encoder' not in k}
    partial.save_pretrained(tmp_path / 'partial', state_dict=state)
    with pytest.raises(UserError, match='lacks'):
        create_tracker(str(tmp_path / 'partial'))
    with pytest.raises(UserError, match='no weights named'):
        create_tracker('no-such-tracker')


def test_a_hub_id_without_a_network_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    for name, hub_id in (('sam2.1-hiera-tiny', 'facebook/sam2.1-hiera-tiny'),
                         ('sam2-hiera-base-plus', 'facebook/sam2-hiera-base-plus')):
        with pytest.raises(UserError, match=f'download {hub_id}'):
            create_tracker(name)

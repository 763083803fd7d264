"""`vseg evaluate` across data sets: a segmenter of one, scored in the classes that both have."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from vseg_ros.class_maps import CLASS_MAPS
from vseg_ros.class_names import ADE20K_NAMES, CITYSCAPES_NAMES, VSPW_NAMES
from vseg_ros.cli import main
from vseg_ros.commands.sources import classes_of
from vseg_ros.errors import UserError
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import DRIVING
from vseg_ros.models import runtime
from vseg_ros.settings import PipelineSettings, SegmenterSettings, Time2GeneralSettings

HEIGHT, WIDTH = 64, 96
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' labelIds in the order of its 19 classes."""


@pytest.fixture(autouse=True)
def _without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by torch: an export takes longer than all of these tests."""
    monkeypatch.setattr(runtime, 'LARGEST_EXPORT', 0)


def save_segformer(folder: Path, names: Sequence[str]) -> SegformerForSemanticSegmentation:
    """Save a tiny SegFormer of random weights as transformers does; names as checkpoints have."""
    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(SegformerConfig.from_dict({
        'hidden_sizes': [8, 16, 20, 24], 'depths': [1, 1, 1, 1],
        'num_attention_heads': [1, 2, 2, 2], 'decoder_hidden_size': 16,
        'id2label': dict(enumerate(names)),
        'label2id': {name: index for index, name in enumerate(names)}})).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
        # its answers are to differ from place to place
        head = model.decode_head
        head.batch_norm.momentum = 1.0
        images = np.stack([picture(seed) for seed in range(4)])[..., ::-1].astype(np.float32)
        head.train()(model.segformer(torch.from_numpy(images / 64 - 2).permute(0, 3, 1, 2),
                                     output_hidden_states=True).hidden_states)
        head.eval().classifier.weight.normal_()
        head.classifier.weight -= head.classifier.weight.mean(1, keepdim=True)
    model.save_pretrained(folder)
    return model


def picture(seed: int) -> np.ndarray:
    """Make a picture of flat patches, BGR."""
    random = np.random.default_rng(seed)
    patches = random.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    return patches.repeat(16, 0).repeat(16, 1)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@torch.no_grad()
def predict(model: SegformerForSemanticSegmentation, image: np.ndarray,
            groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Segment without any of the package: the largest logit of each group, the best group."""
    rgb = torch.from_numpy(image[..., ::-1].astype(np.float32) / 255).permute(2, 0, 1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    logits = model(((rgb - mean[:, None, None]) / deviation[:, None, None])[None]).logits[0]
    best = torch.stack([torch.stack([logits[source] for source in group]).amax(0)
                        for group in groups])
    return torch.nn.functional.interpolate(
        best[None], size=(HEIGHT, WIDTH), mode='bilinear')[0].argmax(0).numpy()


def mean_iou(pairs: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> float:
    """Mean IoU over the classes of the truth, by counting."""
    ious = []
    for each in range(count):
        known = [(truth != 255) for truth, _ in pairs]
        hits = sum(int(((truth == each) & (found == each)).sum()) for truth, found in pairs)
        union = sum(int((((truth == each) | (found == each)) & seen).sum())
                    for (truth, found), seen in zip(pairs, known, strict=True))
        if any((truth == each).any() for truth, _ in pairs):
            ious.append(hits / union)
    return float(np.mean(ious))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['vseg', 'evaluate', *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code, caught.value.code


def half_right(found: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Make a truth: what was found, but in blocks of 8 x 8 pixels another class or none."""
    random = np.random.default_rng(seed)
    shape = HEIGHT // 8, WIDTH // 8
    other = random.integers(0, count, shape).repeat(8, 0).repeat(8, 1)
    kind = random.integers(0, 3, shape).repeat(8, 0).repeat(8, 1)
    return np.where(kind == 0, other, np.where(kind == 1, 255, found))


def test_vspw_segmenter_on_cityscapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_segformer(tmp_path / 'vspw', [name.replace('_', ' ') for name in VSPW_NAMES])
    class_map = CLASS_MAPS['vspw-cityscapes']
    targets = class_map.target.names
    groups = [[VSPW_NAMES.index(name) for name in class_map.source_of[target]]
              for target in targets]
    root, pairs = tmp_path / 'cityscapes', []
    for frame in range(30):
        image = picture(frame)
        write(root / f'leftImg8bit_sequence/val/ulm/ulm_000003_{frame:06}_leftImg8bit.png', image)
        if frame != 19:
            continue
        found = predict(model, image, groups)
        truth = half_right(found, frame, len(targets))
        ids = np.zeros_like(truth)
        for index, target in enumerate(targets):
            ids[truth == index] = LABEL_IDS[CITYSCAPES_NAMES.index(target)]
        # every second person rides, what has no class is partly a sign: no score changes
        ids[::2][ids[::2] == 24] = 25
        ids[:, ::2][ids[:, ::2] == 0] = 20
        assert {20, 24, 25} < set(ids.flat)
        write(root / 'gtFine/val/ulm/ulm_000003_000019_gtFine_labelIds.png',
              ids.astype(np.uint8))
        pairs.append((truth, found))
    assert len(np.unique([found for _, found in pairs])) > 2
    run(monkeypatch, str(root), '--format', 'cityscapes', '--pipelines', 'iss,ditta',
        '-p', f'segmenter={tmp_path / "vspw"}', '-p', 'classes=vspw-cityscapes',
        '-p', 'adaptation.passes=1', '-p', 'input_size=0', '--json', str(tmp_path / 's.json'))
    scores = json.loads((tmp_path / 's.json').read_text())
    assert (scores['frames'], scores['warmup']) == (30, 3)
    expected = mean_iou(pairs, len(targets))
    assert 0.1 < expected < 0.9
    assert scores['pipelines']['iss']['miou'] == pytest.approx(expected, abs=1e-3)
    assert 0 < scores['pipelines']['ditta']['miou'] <= 1


def test_ade20k_segmenter_on_vspw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_segformer(tmp_path / 'ade', ['bed ' if name == 'bed' else name
                                              for name in ADE20K_NAMES])
    class_map = CLASS_MAPS['ade20k-vspw']
    targets = class_map.target.names
    groups = [[ADE20K_NAMES.index(name) for name in class_map.source_of[target]]
              for target in targets]
    root, pairs = tmp_path / 'VSPW_480p', []
    (root / 'data').mkdir(parents=True)
    (root / 'val.txt').write_text('a_video\n')
    for frame in range(12):
        image = picture(frame)
        # what the command reads
        image = cv2.imdecode(cv2.imencode('.jpg', image)[1], cv2.IMREAD_COLOR)
        write(root / f'data/a_video/origin/{frame:08}.jpg', image)
        image = cv2.imread(str(root / f'data/a_video/origin/{frame:08}.jpg'))
        found = predict(model, image, groups)
        truth = half_right(found, frame, len(targets))
        mask = np.zeros_like(truth)
        for index, target in enumerate(targets):
            mask[truth == index] = VSPW_NAMES.index(target) + 1
        # a cat, which ADE20K does not know, is not scored
        mask[:, ::2][mask[:, ::2] == 0] = VSPW_NAMES.index('cat') + 1
        write(root / f'data/a_video/mask/{frame:08}.png', mask.astype(np.uint8))
        if frame:
            pairs.append((truth, found))
    run(monkeypatch, str(root), '--format', 'vspw', '--split', 'val', '--pipelines', 'iss',
        '-p', f'segmenter={tmp_path / "ade"}', '-p', 'classes=ade20k-vspw',
        '-p', 'input_size=0', '--json', str(tmp_path / 's.json'))
    scores = json.loads((tmp_path / 's.json').read_text())
    assert (scores['frames'], scores['warmup']) == (12, 1)
    assert len(np.unique([found for _, found in pairs])) > 5
    assert scores['pipelines']['iss']['miou'] == pytest.approx(
        mean_iou(pairs, len(targets)), abs=1e-3)


def test_cityscapes_segmenter_on_a_labelled_bag(tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_segformer(tmp_path / 'city', CITYSCAPES_NAMES)
    class_map = CLASS_MAPS['cityscapes-driving']
    groups = [[CITYSCAPES_NAMES.index(name) for name in class_map.source_of[target]]
              for target in DRIVING.names]
    pairs = []
    for frame in range(12):
        image = picture(frame)
        found = predict(model, image, groups)
        truth = half_right(found, frame, len(DRIVING))
        write(tmp_path / f'images/{frame}.png', image)
        write(tmp_path / f'labels/{frame}.png', truth.astype(np.uint8))
        if frame:
            pairs.append((truth, found))
    assert len(np.unique([found for _, found in pairs])) > 3
    folder = ImageFolder(tmp_path / 'images', tmp_path / 'labels', label_set=DRIVING)
    write_camera_bag(folder, tmp_path / 'drive.mcap', encoding='rgb8')
    for options in ((), ('--labels', '/camera/labels')):
        run(monkeypatch, str(tmp_path / 'drive.mcap'), '--pipelines', 'iss', *options,
            '-p', f'segmenter={tmp_path / "city"}', '-p', 'classes=cityscapes-driving',
            '-p', 'input_size=0', '--json', str(tmp_path / 's.json'))
        scores = json.loads((tmp_path / 's.json').read_text())
        assert scores['pipelines']['iss']['miou'] == pytest.approx(
            mean_iou(pairs, len(DRIVING)), abs=1e-3)


def test_labels_come_in_the_one_class_map_of_all_pipelines() -> None:
    def settings(*classes: str) -> dict[str, PipelineSettings]:
        return {str(index): SegmenterSettings(classes=each)
                for index, each in enumerate(classes)} | {'t': Time2GeneralSettings()}
    assert classes_of(settings('', '')) == ''
    assert classes_of(settings('', 'vspw-driving', 'vspw-driving')) == 'vspw-driving'
    with pytest.raises(UserError, match=r'different classes \(vspw-driving, ade20k-driving\)'):
        classes_of(settings('vspw-driving', 'ade20k-driving'))


@pytest.mark.parametrize(('classes', 'said'), [
    ('cityscapes-drivign', "no class map 'cityscapes-drivign': choose one of vspw-cityscapes"),
    ('cityscapes', "labelled with 15 classes (road, sidewalk, building, …), which classes "
                   "'cityscapes' does not know"),
    ('vspw-driving', 'is for segmenters with the 124 classes of vspw, but this one has 15')])
def test_a_mistake_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str], classes: str,
                                    said: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['vseg', 'evaluate', 'street:1:4', '--pipelines', 'iss',
                                      '-p', f'classes={classes}'])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('vseg: ')
    assert said in line

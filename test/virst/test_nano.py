"""The file of the small VIRST: a round trip, and what it says of files that are not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.training_settings import NanoLanguageSettings, NanoVirstSettings
from vseg_ros.virst.frame_prompts import FramePrompter, ProjectedPrompts
from vseg_ros.virst.nano import new_nano_virst, read_nano_virst, write_nano_virst
from vseg_ros.virst.nano_language_model import NanoLanguageModel
from vseg_ros.weights import bundled_path

WORDS = ('the', 'red', 'car')


def tiny_settings(single_fusion: bool = False) -> NanoVirstSettings:
    return NanoVirstSettings(
        side=64, width=64, heads=2, layers=1, frames=3, anchors=2, single_fusion=single_fusion,
        language=NanoLanguageSettings(width=24, layers=1, heads=2, prompt_count=2, grid=4,
                                      attention=1, things=4))


@pytest.mark.parametrize('single_fusion', [False, True])
def test_round_trip(tmp_path: Path, single_fusion: bool) -> None:
    settings = tiny_settings(single_fusion)
    torch.manual_seed(0)
    model = new_nano_virst(settings, WORDS)
    before = torch.get_rng_state()
    write_nano_virst(model, settings, tmp_path / 'a.safetensors')
    read, found = read_nano_virst(tmp_path / 'a.safetensors')
    assert found == settings
    assert torch.equal(torch.get_rng_state(), before), 'reading draws nothing'
    assert isinstance(read.language, NanoLanguageModel)
    assert read.language.words == WORDS
    assert isinstance(read.prompter, ProjectedPrompts if single_fusion else FramePrompter)
    assert (read.frames, read.anchors) == (3, 2)
    assert (read.several, read.coarse) == (False, not single_fusion)
    assert not read.training
    assert not any(parameter.requires_grad for parameter in read.parameters())
    encoder = 'sam.vision_encoder.backbone.'
    for name, value in model.state_dict().items():
        expected = value if name.startswith(encoder) else value.half().float()
        assert torch.equal(read.state_dict()[name], expected), name
    with safe_open(tmp_path / 'a.safetensors', framework='pt') as stored:
        assert not any(name.startswith(encoder) for name in stored.keys())  # noqa: SIM118
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {  # noqa: SIM118
            torch.float16}


Change = Callable[[dict[str, str], dict[str, Tensor]], object]


def without(name: str) -> Change:
    return lambda metadata, state: metadata.pop(name)


def set_to(name: str, value: str) -> Change:
    return lambda metadata, state: metadata.update({name: value})


@pytest.mark.parametrize(('change', 'said'), [
    (set_to('architecture', 'other'), 'holds no VIRST'),
    (without('architecture'), 'holds no VIRST'),
    (without('settings'), 'does not fit its own metadata'),
    (set_to('settings', '{"side": 65}'), 'does not fit its own metadata'),
    (set_to('settings', tiny_settings().model_copy(update={'layers': 2}).model_dump_json()),
     'does not fit its own metadata'),
    (set_to('words', '["one", "word"]'), 'does not fit its own metadata'),
    (set_to('words', '7'), 'does not fit its own metadata'),
    (without('words'), 'does not fit its own metadata'),
    (set_to('encoder_digest', '0' * 16), 'was trained on another driving-b0'),
    (lambda metadata, state: state.pop('initial.gate'), 'does not fit its own metadata'),
    (lambda metadata, state: state.update(extra=torch.ones(1)), 'does not fit its own metadata'),
])
def test_a_changed_file_is_refused(tiny_virst: Path, tmp_path: Path, change: Change,
                                   said: str) -> None:
    with safe_open(tiny_virst, framework='pt') as stored:
        metadata = dict(stored.metadata())
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    assert json.loads(metadata['words']) == ['the', 'red', 'white', 'car']
    change(metadata, state)
    path = tmp_path / 'changed.safetensors'
    save_file(state, path, metadata)
    with pytest.raises(UserError, match=said) as caught:
        read_nano_virst(path)
    assert '\n' not in str(caught.value)


def test_what_is_no_such_file(tiny_virst: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='holds no VIRST'):
        read_nano_virst(bundled_path('driving-b0'))
    cut = tmp_path / 'cut.safetensors'
    cut.write_bytes(tiny_virst.read_bytes()[:-1000])
    with pytest.raises(UserError, match='cannot be read as safetensors'):
        read_nano_virst(cut)
    with pytest.raises(UserError, match='cannot be read as safetensors'):
        read_nano_virst(tmp_path / 'gone.safetensors')

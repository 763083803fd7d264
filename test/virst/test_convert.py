"""`convert_virst`: the names and shapes of the authors' code become a folder that loads."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2ForCausalLM, Sam2VideoConfig, Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.models.sam2_keys import transformers_sam2
from vseg_ros.virst import convert
from vseg_ros.virst.convert import convert_virst, in_shards
from vseg_ros.virst.released_plan import frame_prompter, initial_fusion, plan_conversion
from vseg_ros.virst.video_chat_flash import VideoChatFlash

PEFT = 'base_model.model.'


def run(released, out: Path, **options: Any) -> Path:
    options = {'checkpoint': released.checkpoint, 'base': str(released.base),
               'sam2': str(released.sam2)} | options
    convert_virst(out=out, **options)
    return out


@pytest.fixture(scope='module')
def folder(released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(released, tmp_path_factory.mktemp('converted') / 'virst')


def changed(released, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """Write a checkpoint with something changed."""
    state = dict(released.state)
    change(state)
    torch.save({'model_state_dict': state}, folder / 'changed.pt')
    return folder / 'changed.pt'


def test_files(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        'config.json', 'fusion.safetensors', 'language_model', 'sam2']
    assert json.loads((folder / 'config.json').read_text()) == {
        'model_type': 'virst', 'format': 1,
        'language_model': {'family': 'video-chat-flash', 'folder': 'language_model',
                           'width': 64, 'prompts': 10},
        'sam2': {'folder': 'sam2'},
        'fusion': {'file': 'fusion.safetensors', 'features': 256, 'width': 256, 'grid': 8,
                   'heads': 8, 'layers': 2}}


def test_low_rank_matrices_are_merged(released, folder: Path) -> None:
    weights = load_file(folder / 'language_model' / 'model.safetensors')
    layer = f'{PEFT}model.layers.1.self_attn.v_proj'
    expected = released.state[f'{layer}.base_layer.weight'] + 16 / 4 * (
        released.state[f'{layer}.lora_B.default.weight']
        @ released.state[f'{layer}.lora_A.default.weight'])
    torch.testing.assert_close(weights['model.layers.1.self_attn.v_proj.weight'], expected)
    assert torch.equal(weights['model.layers.1.self_attn.v_proj.bias'],
                       released.state[f'{layer}.base_layer.bias'])
    assert torch.equal(weights['model.norm.weight'],
                       released.state[f'{PEFT}model.norm.weight'])


def test_sam2_is_a_checkpoint_of_transformers(released, folder: Path) -> None:
    model = Sam2VideoModel.from_pretrained(folder / 'sam2')
    assert torch.equal(
        model.vision_encoder.neck.convs[1].weight,
        released.state[f'{PEFT}model.seg_model.image_encoder.neck.convs.1.conv.weight'])
    assert torch.equal(model.no_memory_embedding,
                       released.state[f'{PEFT}model.seg_model.no_mem_embed'])


def test_sam2_in_names_of_transformers(released) -> None:
    prefix = f'{PEFT}model.seg_model.'
    state = {name.removeprefix(prefix): value for name, value in released.state.items()
             if name.startswith(prefix)}
    renamed = transformers_sam2(state)
    model = Sam2VideoModel(Sam2VideoConfig.from_pretrained(released.sam2))
    model.load_state_dict(renamed)
    table = renamed['prompt_encoder.point_embed.weight']
    for point in range(4):
        torch.testing.assert_close(
            table[point], state[f'sam_prompt_encoder.point_embeddings.{point}.weight'][0])
    frequencies = state['sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']
    assert torch.equal(model.shared_image_embedding.positional_embedding, frequencies)


def test_fusions(released, folder: Path) -> None:
    weights = load_file(folder / 'fusion.safetensors')
    parts = {part: {name.removeprefix(f'{part}.'): value for name, value in weights.items()
                    if name.startswith(f'{part}.')} for part in ('initial_fusion',
                                                                 'frame_prompts')}
    assert sum(map(len, parts.values())) == len(weights)
    first = initial_fusion(parts['initial_fusion'], 64)
    first.load_state_dict(parts['initial_fusion'])
    assert torch.equal(first.gate,
                       released.state[f'{PEFT}model.initial_seg_fusion_module.gate'])
    frame_prompter(parts['frame_prompts'], 64).load_state_dict(parts['frame_prompts'])


def test_nothing_is_hidden_in_the_base_model(released, folder: Path, tmp_path: Path) -> None:
    """All weights of this checkpoint are its own: those of the base model do not matter."""
    base = tmp_path / 'base'
    shutil.copytree(released.base, base)
    (base / 'model.safetensors').unlink()
    out = run(released, tmp_path / 'out', base=str(base))
    for file in ('language_model/model.safetensors', 'language_model/vision.safetensors'):
        again, expected = load_file(out / file), load_file(folder / file)
        assert again.keys() == expected.keys()
        assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_what_the_checkpoint_lacks_comes_from_the_base_model(released, tmp_path: Path) -> None:
    """A checkpoint of trained weights alone; the vocabulary of the base model is cut."""
    def trained_only(state: dict[str, torch.Tensor]) -> None:
        for name in list(state):
            if any(part in name for part in ('base_layer', 'vision_tower', 'mm_projector',
                                             'embed_tokens', 'lm_head')):
                del state[name]

    out = run(released, tmp_path / 'out', checkpoint=changed(released, tmp_path, trained_only))
    base = load_file(released.base / 'model.safetensors')
    weights = load_file(out / 'language_model' / 'model.safetensors')
    assert base['model.embed_tokens.weight'].shape == (288, 64)
    for name in ('model.embed_tokens.weight', 'lm_head.weight'):
        assert torch.equal(weights[name], base[name][:260])
    layer = 'model.layers.0.mlp.down_proj'
    torch.testing.assert_close(
        weights[f'{layer}.weight'], base[f'{layer}.weight'] + 4 * (
            released.state[f'{PEFT}{layer}.lora_B.default.weight']
            @ released.state[f'{PEFT}{layer}.lora_A.default.weight']))
    vision = load_file(out / 'language_model' / 'vision.safetensors')
    assert torch.equal(vision['tower.norm.weight'], base[
        'model.vision_tower.vision_tower.encoder.vision_layernorm.weight'])


def test_several_files(released, folder: Path, tmp_path: Path,
                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, 'SHARD_BYTES', 60_000)
    steps = []
    out = run(released, tmp_path / 'out', progress=lambda *step: steps.append(step))
    files = sorted((out / 'language_model').glob('model-*.safetensors'))
    assert len(files) > 3
    assert all(file.stat().st_size < 80_000 for file in files)
    first, second = (Qwen2ForCausalLM.from_pretrained(place / 'language_model').state_dict()
                     for place in (out, folder))
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert steps[0][0] == 0
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert steps[-1][0] == steps[-1][1]


def test_lists_of_at_most_so_many_bytes() -> None:
    sizes = {'a': 3, 'b': 3, 'c': 9, 'd': 1, 'e': 2}
    assert list(in_shards(sizes, 6)) == [['a', 'b'], ['c'], ['d', 'e']]


def test_kept_matrices(released, folder: Path, tmp_path: Path) -> None:
    out = run(released, tmp_path / 'out', keep_low_rank=True)
    weights = load_file(out / 'language_model' / 'model.safetensors')
    assert torch.equal(weights['model.layers.0.self_attn.q_proj.weight'], released.state[
        f'{PEFT}model.layers.0.self_attn.q_proj.base_layer.weight'])
    if importlib.util.find_spec('peft') is None:
        with pytest.raises(UserError, match='pip install --upgrade peft'):
            VideoChatFlash.load(str(out / 'language_model'), device='cpu')
        return
    tokens = torch.tensor([[1, 2, 3]])
    apart, together = (VideoChatFlash.load(str(place / 'language_model'), device='cpu')
                       for place in (out, folder))
    torch.testing.assert_close(apart.decoder(tokens).logits, together.decoder(tokens).logits,
                               atol=1e-5, rtol=1e-5)


def drop(part: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state[next(name for name in state if part in name)]
    return change


def shrink(part: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        name = next(name for name in state if part in name)
        state[name] = state[name][:-1]
    return change


def add(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        state[PEFT + name] = torch.ones(3)
    return change


@pytest.mark.parametrize(('change', 'message'), [
    (drop('seg_model.memory_encoder.out_proj.bias'),
     r'SAM 2 lacks weights \(1, such as memory_encoder\.projection\.bias'),
    (drop('seg_prompter.seg_proj.bias'), 'second fusion lacks weights'),
    (drop('initial_seg_fusion_module.gate'), 'first fusion lacks weights'),
    (shrink('seg_model.memory_encoder.out_proj.bias'), r'SAM 2 has another size: .* \[63\]'),
    (shrink('layers.0.mlp.up_proj.base_layer'), 'language model has another size'),
    (shrink('mm_projector.mlp.0.bias'), 'vision tower has another size'),
    (add('model.layers.0.mlp.other.weight'), 'language model has unknown weights'),
    (add('model.layers.7.mlp.up_proj.lora_A.default.weight'), 'low-rank matrix without a layer'),
    (drop('lora_B.default'), 'only one low-rank matrix'),
    (add('model.seg_model.extra'), r"unknown weight 'extra'"),
    (lambda state: state.update({f'{PEFT}model.embed_tokens.weight': torch.ones(259, 64)}),
     r'knows 259 tokens, but the tokenizer with \[SEG\] has 260'),
    (lambda state: state.update({f'{PEFT}model.embed_tokens.weight': torch.ones(300, 64)}),
     r'knows 300 tokens, but the tokenizer with \[SEG\] has 260'),
])
def test_other_models(released, tmp_path: Path, change, message: str) -> None:
    checkpoint = changed(released, tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        run(released, tmp_path / 'out', checkpoint=checkpoint)
    assert '\n' not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ['changed.pt']


def break_config(base: Path) -> None:
    (base / 'config.json').write_text('{"model_type": "qwen2"}')


def drop_config(base: Path) -> None:
    (base / 'config.json').unlink()


def cut_weights(base: Path) -> None:
    file = base / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-4])


def drop_tokenizer(base: Path) -> None:
    for file in ('vocab.json', 'merges.txt', 'tokenizer_config.json', 'added_tokens.json'):
        (base / file).unlink()


@pytest.mark.parametrize(('spoil', 'message'), [
    (break_config, 'is another model: give the folder of OpenGVLab'),
    (drop_config, 'holds no readable config.json'),
    (cut_weights, 'cut short or no safetensors file'),
    (drop_tokenizer, 'lacks its tokenizer'),
])
def test_base_models_that_are_none(released, tmp_path: Path, spoil, message: str) -> None:
    base = tmp_path / 'base'
    shutil.copytree(released.base, base)
    spoil(base)
    with pytest.raises(UserError, match=message) as caught:
        run(released, tmp_path / 'out', base=str(base))
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'out').exists()


def test_no_published_size(released, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='5 blocks, the first 16 channels wide'):
        run(released, tmp_path / 'out', sam2=None)


def test_an_older_folder_stays_until_the_new_one_is_whole(released, tmp_path: Path,
                                                          monkeypatch) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'old').write_text('kept')
    monkeypatch.setattr(convert, 'write_sam2', lambda *_: (_ for _ in ()).throw(
        OSError(28, 'No space left on device')))
    with pytest.raises(UserError, match='disk is full'):
        run(released, out)
    assert (out / 'old').read_text() == 'kept'
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    monkeypatch.undo()
    run(released, out)
    assert not (out / 'old').exists()


def test_the_input_is_not_overwritten(released, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='would replace the input'):
        run(released, released.base)
    with pytest.raises(UserError, match='would replace the input'):
        run(released, released.checkpoint)


def test_rows_of_the_base_model_in_two_files(released, tmp_path: Path) -> None:
    base = tmp_path / 'base'
    shutil.copytree(released.base, base)
    weights = load_file(base / 'model.safetensors')
    (base / 'model.safetensors').unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:20], names[20:])):
        save_file({name: weights[name] for name in part}, base / f'model-{number}.safetensors')
    plan = plan_conversion(changed(released, tmp_path, drop('embed_tokens')), str(base),
                           str(released.sam2))
    assert torch.equal(plan.decoder.read('model.embed_tokens.weight', None),
                       weights['model.embed_tokens.weight'][:260])

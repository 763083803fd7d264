"""The parts of VIRST's benchmark at work, at a tiny size; nothing here is timed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vseg_ros.commands.bench_run import read_pipelines
from vseg_ros.datasets.street_queries import vocabulary
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.questions import (
    QUESTIONS,
    RANDOM,
    compare_questions,
    measure_following,
    virst_file,
)
from vseg_ros.evaluation.bench.questions_large import (
    LARGE,
    byte_tokenizer,
    new_large_virst,
    time_large_questions,
)
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.virst.decoder_language_model import END_OF_TURN
from vseg_ros.virst.language_model import VideoLanguageModel
from vseg_ros.virst.nano import (
    NanoVirstSettings,
    new_nano_virst,
    read_nano_virst,
    write_nano_virst,
)
from vseg_ros.words import split_words

TINY = NanoVirstSettings.model_validate({
    'side': 64, 'width': 64, 'language': {'width': 48, 'layers': 1, 'grid': 4}})
TINY_LANGUAGE = {
    'vision_config': {'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2,
                      'intermediate_size': 32, 'image_size': [28, 28], 'patch_size': [14, 14]},
    'text_config': {'model_type': 'qwen3', 'hidden_size': 32, 'num_hidden_layers': 1,
                    'num_attention_heads': 2, 'num_key_value_heads': 1, 'head_dim': 16,
                    'intermediate_size': 48, 'vocab_size': 300, 'bos_token_id': None,
                    'eos_token_id': None, 'pad_token_id': None},
    'image_token_id': 0}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('virst') / 'tiny.safetensors'
    write_nano_virst(new_nano_virst(TINY, vocabulary()), TINY, path)
    return str(path)


def test_a_frame_is_encoded_once_for_all_questions(tiny: str) -> None:
    numbers = compare_questions(tiny, 64, 96, seed=1, rounds=1, seconds=0.3)
    assert (numbers['window_frames'], numbers['encodings_a_frame']) == (4, 1)
    assert numbers['fps'] == pytest.approx(4 / (numbers['question_seconds'] or 0))
    assert all(value is None or value > 0 for value in numbers.values())


def test_following_tells_its_memory(tiny: str) -> None:
    numbers = measure_following(tiny, 1, 3)
    assert numbers['follow_frames'] == 3
    assert numbers['follow_mib_settled'] is None
    assert (numbers['follow_mib_end'] or 1) > 0


def test_the_questions_have_known_words_only() -> None:
    assert set(split_words(' '.join(QUESTIONS))) <= set(vocabulary())


def test_random_weights_are_of_the_default_size() -> None:
    with virst_file(RANDOM, 0) as name:
        assert read_nano_virst(Path(name))[1] == NanoVirstSettings()
    assert not Path(name).exists()


def test_bytes_are_tokens_and_marks_are_single_ones() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer('ab é', add_special_tokens=False).input_ids
    assert len(ids) == 5
    assert tokenizer.decode(ids, skip_special_tokens=True) == 'ab é'
    assert len(tokenizer(END_OF_TURN, add_special_tokens=False).input_ids) == 1


def test_the_large_model_is_timed_on_any_device() -> None:
    numbers = time_large_questions(
        'cpu', 1, window=3, size=(64, 96), dtype='float32', language=TINY_LANGUAGE,
        sam=new_nano_sam2('driving-b0', 256, 64))
    assert numbers['large_fps_over_paper'] == pytest.approx(numbers['large_fps'] / 5.1)
    assert numbers['large_window_frames'] == 3
    assert all(value > 0 for value in numbers.values())


def test_the_large_model_is_of_a_robots_size() -> None:
    model = new_large_virst(torch.device('meta'), torch.bfloat16)
    assert isinstance(model.language, VideoLanguageModel)
    spoken = sum(value.numel() for value in model.language.parameters())
    assert 2e9 < spoken < 3e9
    assert 37e6 < sum(value.numel() for value in model.sam.parameters()) < 41e6
    assert model.sam.image_size == 1024
    assert LARGE['text_config']['vocab_size'] > 150_000


@pytest.mark.parametrize('text', ['', 'iss,nothing', 'VIRST'])
def test_a_pipeline_that_cannot_be_measured_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r'there are iss, ditta, .*refine, virst'):
        read_pipelines(text)


def test_pipelines_are_names_separated_by_commas() -> None:
    assert read_pipelines('iss, virst') == ['iss', 'virst']

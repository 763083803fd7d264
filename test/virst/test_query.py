"""VIRST in use: what is computed once, what following remembers, windows of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.settings import VirstSettings
from vseg_ros.training_settings import NanoLanguageSettings, NanoVirstSettings
from vseg_ros.video_query import VideoQuery
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import new_nano_virst
from vseg_ros.virst.query import KEPT_FUSIONS, VirstQuery

SIZE = 48, 64
STEP = 100_000_000
START = 1_700_000_000_000_000_000
WORDS = ('the', 'red', 'white', 'car')


def make_frames(count: int, first: int = 0, step: int = STEP) -> list[Frame]:
    random = np.random.default_rng(first)
    return [Frame(random.integers(0, 256, (*SIZE, 3)).astype(np.uint8), START + index * step,
                  'camera') for index in range(first, first + count)]


@pytest.fixture
def model() -> Virst:
    torch.manual_seed(0)
    model = new_nano_virst(NanoVirstSettings(
        side=64, width=64, heads=2, layers=1, frames=3, language=NanoLanguageSettings(
            width=24, layers=1, heads=2, prompt_count=2, grid=4)), WORDS)
    return model.eval().requires_grad_(False)


def make_query(model: Virst, **settings: object) -> VirstQuery:
    return VirstQuery(VirstSettings.model_validate({
        'device': 'cpu', 'window': {'max_frames': 8, 'seconds': 2.0},
        'follow': {'reanchor': 1.0}} | settings), model)


def see(model: Virst, visible: bool) -> None:
    """Make the model sure that what is asked for is there, or is not."""
    model.sam.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(100.0 if visible else -100.0)


def test_a_track_of_the_window(model: Virst) -> None:
    see(model, True)
    query = make_query(model)
    assert isinstance(query, VideoQuery)
    frames = make_frames(6)
    track = query.ask(frames, '  the red\n car ')
    assert track.masks.shape == (6, *SIZE)
    assert track.stamps == tuple(frame.stamp for frame in frames)
    assert 0 <= track.score <= 1
    assert track.masks.any(axis=(1, 2)).tolist() == track.visible.tolist()
    assert all(word in WORDS for word in track.text.split())


def test_a_frame_is_encoded_once_however_much_is_asked(model: Virst) -> None:
    query = make_query(model)
    frames = make_frames(6)
    fusions: list[int] = []
    initial = model.initial.grid.forward
    model.initial.grid.forward = lambda features: (  # type: ignore[method-assign]
        fusions.append(1), initial(features))[1]
    first = query.ask(frames, 'the red car')
    assert query.encoder.encoded == 6
    query.ask(frames, 'the white car')
    again = query.ask(frames, 'the red car')
    assert query.encoder.encoded == 6
    assert len(fusions) == 1, 'what the fusions make of sampled frames is kept too'
    assert np.array_equal(again.masks, first.masks)
    assert (again.text, again.score) == (first.text, first.score)
    query.ask([*frames[1:], *make_frames(1, 6)], 'the red car')
    assert query.encoder.encoded == 7


def test_answers_do_not_depend_on_what_was_asked_before(model: Virst) -> None:
    see(model, True)
    frames = make_frames(5)
    query = make_query(model)
    query.ask(frames, 'the white car')
    query.follow().step(make_frames(1, 5)[0])
    later = query.ask(frames, 'the red car')
    fresh = make_query(model).ask(frames, 'the red car')
    assert np.array_equal(later.masks, fresh.masks)
    assert later.score == fresh.score


def test_what_is_kept_is_bounded(model: Virst) -> None:
    query = make_query(model)
    frames = make_frames(40)
    for start in range(34):
        query.ask(frames[start:start + 6], 'car')
    assert query.encoder.encoded == 39
    assert len(query.encoder._frames) == 16
    assert len(query._fused) == KEPT_FUSIONS


def test_equal_frames_are_not_taken_for_each_other(model: Virst) -> None:
    """Frames are known by identity, and kept, so that no other can take it."""
    query = make_query(model)
    for seed in range(12):
        query.ask(make_frames(2, 10 * seed), 'car')
    assert query.encoder.encoded == 24


def test_where_nothing_matches_masks_are_empty(model: Virst) -> None:
    see(model, False)
    query = make_query(model)
    track = query.ask(make_frames(5), 'the red car')
    assert not track.masks.any()
    assert track.visible.tolist() == [False] * 5
    assert track.score < 0.01
    step = query.follow().step(make_frames(1, 5)[0])
    assert not step.masks.any()
    assert step.visible.tolist() == [False]


def test_words_it_does_not_know_are_named(model: Virst) -> None:
    text = make_query(model).ask(make_frames(2), 'the purple car, purple').text
    assert text.endswith('(words it does not know: purple, ,)')
    assert 'not know' not in make_query(model).ask(make_frames(2), 'the car').text


@pytest.mark.parametrize('count', [1, 2, 3])
def test_short_windows(model: Virst, count: int) -> None:
    see(model, True)
    query = make_query(model)
    frames = make_frames(count)
    assert query.ask(frames, 'car').masks.shape == (count, *SIZE)
    assert query.follow().step(make_frames(1, count)[0]).masks.shape == (1, *SIZE)


def test_stamps_of_any_form_and_spacing(model: Virst) -> None:
    """Stamps that come as floats or NumPy numbers are whole nanoseconds in a frame."""
    image = make_frames(1)[0].image
    stamps = (0.0, np.int64(7), 8.9, 1e9)
    frames = [Frame(image, stamp) for stamp in stamps]  # type: ignore[arg-type]
    query = make_query(model)
    assert query.ask(frames, 'car').stamps == (0, 7, 8, 1_000_000_000)
    assert query.follow().step(Frame(image, 10**18)).stamps == (10**18,)


@pytest.mark.parametrize(('frames', 'text', 'said'), [
    ([], 'car', 'no frame'), (make_frames(2)[::-1], 'car', 'out of order'),
    (make_frames(2), ' ', 'is empty'), (make_frames(2), 'car ' * 400, 'at most 1000'),
    ([*make_frames(1), Frame(np.zeros((8, 8, 3), np.uint8), START + STEP)], 'car', '2 sizes')])
def test_what_cannot_be_asked(model: Virst, frames: Sequence[Frame], text: str,
                              said: str) -> None:
    query = make_query(model)
    with pytest.raises(UserError, match=said):
        query.ask(frames, text)
    with pytest.raises(ValueError, match='ask a question first'):
        query.follow()


def test_more_memories_than_the_model_has(model: Virst) -> None:
    make_query(model, anchors={'memory': 7})
    with pytest.raises(UserError, match=r'anchors\.memory is 8, .* has 7 slots'):
        make_query(model, anchors={'memory': 8})


def test_settings_count(model: Virst) -> None:
    see(model, True)
    frames = make_frames(7)
    default = make_query(model).ask(frames, 'car').masks
    for changed in ({'anchors': {'count': 1}}, {'anchors': {'memory': 2}},
                    {'window': {'sampled': 7, 'max_frames': 8}}):
        assert not np.array_equal(make_query(model, **changed).ask(frames, 'car').masks, default)


def test_a_model_has_its_own_number_of_anchors(model: Virst) -> None:
    """Every frame is sampled; those that are no anchors are propagated."""
    see(model, True)
    frames = make_frames(3)
    masks = {count: make_query(model, anchors={'count': count}).ask(frames, 'car').masks
             for count in (0, 1, 3)}
    assert np.array_equal(masks[0], masks[3])
    assert not np.array_equal(masks[0], masks[1])
    model.anchors = 1
    assert np.array_equal(make_query(model).ask(frames, 'car').masks, masks[1])


def test_following_without_anchors_goes_on_with_the_window(model: Virst) -> None:
    """Propagating frame by frame gives what a longer window with the same anchors gives."""
    see(model, True)
    query = make_query(model, follow={'reanchor': 0}, anchors={'count': 1},
                       window={'sampled': 1, 'max_frames': 20})
    frames = make_frames(12)
    query.ask(frames[:4], 'the red car')
    follower = query.follow()
    assert follower.text == 'the red car'
    followed = [follower.step(frame).masks[0] for frame in frames[4:]]
    whole = query.ask(frames, 'the red car').masks[4:]
    assert np.array_equal(np.stack(followed), whole)


def test_the_sentence_is_asked_again_by_stamps(model: Virst,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    query = make_query(model, follow={'reanchor': 0.5})
    query.ask(make_frames(4), 'car')
    asked: list[list[int]] = []
    prompt = query.prompt
    monkeypatch.setattr(query, 'prompt', lambda sampled, text: (
        asked.append([frame.stamp for frame in sampled]), prompt(sampled, text))[1])
    follower = query.follow()
    for frame in make_frames(10, 4):
        follower.step(frame)
    newest = [sampled[-1] for sampled in asked]
    assert newest == [START + index * STEP for index in (8, 13)]
    assert all(sampled == sorted(set(sampled)) for sampled in asked)
    # a frame after a long gap
    follower.step(Frame(make_frames(1)[0].image, START + 100 * STEP))
    assert asked[2][-1] == START + 100 * STEP


def test_two_followers_do_not_disturb_each_other(model: Virst) -> None:
    see(model, True)
    query = make_query(model, follow={'reanchor': 0.3})
    query.ask(make_frames(4), 'car')
    first = query.follow()
    steps = make_frames(6, 4)
    masks = [first.step(frame).masks for frame in steps]
    second = query.follow()
    for frame, expected in zip(steps, masks, strict=True):
        assert np.array_equal(second.step(frame).masks, expected)


def test_following_for_long_needs_no_more_memory(model: Virst) -> None:
    query = make_query(model)
    query.ask(make_frames(4), 'car')
    follower = query.follow()
    for frame in make_frames(300, 4):
        follower.step(frame)
        [memory] = follower._updater._memories
        kept = [*memory._anchors.values(), *memory._recent.values()]
        assert len(memory._anchors) <= 3
        assert len(memory._recent) <= 15
        assert sum(each.spatial is not None for each in kept) <= 9
    assert len(query.encoder._frames) <= 16
    assert len(query._fused) <= KEPT_FUSIONS
    assert len(follower._window) <= 8
    assert query.encoder.encoded == 304


def test_what_cannot_be_followed(model: Virst) -> None:
    query = make_query(model)
    frames = make_frames(3)
    query.ask(frames, 'car')
    follower = query.follow()
    with pytest.raises(ValueError, match='must be newer'):
        follower.step(frames[2])
    with pytest.raises(ValueError, match='after frames of'):
        follower.step(Frame(np.zeros((8, 8, 3), np.uint8), START + 10 * STEP))
    assert follower.step(make_frames(1, 3)[0]).masks.shape == (1, *SIZE), 'it goes on'


def test_weights_are_loaded_by_name(tiny_virst: Path) -> None:
    query = VirstQuery(VirstSettings(weights=str(tiny_virst), device='cpu'))
    assert query.model.frames == 3
    with pytest.raises(UserError, match='no weights named'):
        VirstQuery(VirstSettings(weights='no/such/file.safetensors', device='cpu'))

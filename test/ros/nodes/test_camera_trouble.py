"""A camera that stops, comes back, is replaced, or changes the size of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vseg_ros.io.street import SyntheticStreet
from vseg_ros.nodes.conversions import stamp_of


def street(size: tuple[int, int], seed: int = 1) -> list[Any]:
    """Return pictures of a drive, uint8 [H, W, 3] RGB."""
    return [item.frame.image for item in SyntheticStreet(seed, 8, size)]


def test_camera_that_stops_and_comes_back(start: Callable[..., Any], camera: Any, ears: Any,
                                          ros: Any) -> None:
    node = start({'image_timeout': 0.5, 'status_period': 0.2})
    node.transition('configure', 'activate')
    # Long enough that the node knows the camera's rate.
    camera.film_until(lambda: ears.state == 'FROZEN' and camera.sent > 20)

    def comes_back() -> None:
        ros.until(lambda: 'no image on /image' in ears.statuses[-1].message)
        answers = len(ears.segmentations)
        camera.film_until(lambda: len(ears.segmentations) > answers + 2)
        ros.until(lambda: not ears.statuses[-1].message)
        assert ears.state == 'FROZEN'
        assert ears.statuses[-1].frames_lost == 0
    camera.sent += 600
    comes_back()
    assert 'no image on /image' in node.log
    # Unplugged, plugged in again: a new publisher, whose clock begins anew.
    camera.plug_in_again()
    comes_back()
    assert ears.stamps[-1] < 100 * 100_000_000


def test_camera_that_changes_its_size(start: Callable[..., Any], camera: Any, ears: Any,
                                      ros: Any) -> None:
    # So different that the segmenter's input changes with them.
    small, large = street((96, 128)), street((120, 241))
    sizes: dict[int, tuple[int, int]] = {}

    def send(pictures: Sequence[Any], until: Callable[[], object]) -> None:
        camera.pictures = pictures
        before = camera.sent
        camera.film_until(until)
        sizes.update({(index + 1) * 100_000_000: pictures[0].shape[:2]
                      for index in range(before, camera.sent)})

    def answered(pictures: Sequence[Any]) -> bool:
        return bool(ears.segmentations) and (
            ears.segmentations[-1].height, ears.segmentations[-1].width) == pictures[0].shape[:2]
    node = start({'warmup.frames': 12, 'adaptation.passes': 5, 'input_size': 64})
    node.transition('configure', 'activate')
    send(small, lambda: answered(small))
    send(large, lambda: answered(large))
    assert 'the image size changed within the warm-up: it starts again' in node.log
    send(large, lambda: ears.state == 'ADAPTING')
    send(small, lambda: answered(small))
    send(large, lambda: ears.state == 'FROZEN')
    send(small, lambda: answered(small))
    send(large, lambda: answered(large))
    assert ears.states[-3:] == ['WARMING_UP', 'ADAPTING', 'FROZEN']
    for image in ears.segmentations:
        assert (image.height, image.width) == sizes[stamp_of(image.header)]
        assert len(image.data) == image.height * image.step
    assert ears.statuses[-1].frames_rejected == 0
    assert ears.statuses[-1].message == ''
    assert 'Traceback' not in node.log

"""Two cameras, each with a node in a namespace of its own, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vseg_ros.io.street import SyntheticStreet

SIDES = {'/front': (96, 128), '/rear/vseg': (64, 96)}


def test_each_node_hears_its_own_camera(
        start: Callable[..., Any], new_camera: Callable[..., Any],
        new_ears: Callable[..., Any]) -> None:
    cameras, ears = {}, {}
    for side, size in SIDES.items():
        pictures = [item.frame.image for item in SyntheticStreet(1, 8, size)]
        cameras[side] = new_camera(pictures, f'{side}/image')
        ears[side] = new_ears(side)
        start(namespace=side).transition('configure', 'activate')

    front, rear = cameras.values()

    def all_frozen() -> bool:
        if rear.sent < front.sent:
            rear.send()
        return all(each.state == 'FROZEN' for each in ears.values())
    front.film_until(all_frozen)
    for side, (height, width) in SIDES.items():
        heard = ears[side].segmentations
        assert {(image.height, image.width, len(image.data)) for image in heard} == {
            (height, width, height * width)}
        status = ears[side].statuses[-1]
        assert (status.frames_rejected, status.message) == (0, '')
        assert 0 < status.frames_in <= cameras[side].sent

"""A source made from another one is as that one, but for what it says itself."""

from __future__ import annotations

from vseg_ros.io.derived_source import DerivedSource
from vseg_ros.io.source import open_source


def test_what_it_does_not_say_is_the_others() -> None:
    street = open_source('street:3:7')
    derived = DerivedSource(street)
    for name in ('name', 'path', 'label_set', 'frame_count'):
        assert getattr(derived, name) == getattr(street, name)
    assert derived.frame_count == 7

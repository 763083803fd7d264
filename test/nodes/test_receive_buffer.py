"""The socket buffer that images arrive in."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from vseg_ros.nodes.receive_buffer import ask_for_large_buffer, how_to_enlarge, kernel_limit


def test_a_large_buffer_is_asked_for_but_not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('CYCLONEDDS_URI', raising=False)
    ask_for_large_buffer()
    size = ElementTree.fromstring(os.environ['CYCLONEDDS_URI']).find(
        'Domain/Internal/SocketReceiveBufferSize')
    assert size is not None
    assert size.attrib == {'max': '64MB'}


def test_a_configuration_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('CYCLONEDDS_URI', 'file:///etc/cyclonedds.xml')
    ask_for_large_buffer()
    assert os.environ['CYCLONEDDS_URI'] == 'file:///etc/cyclonedds.xml'


@pytest.mark.skipif(sys.platform != 'linux', reason='the limit is that of Linux')
def test_the_kernel_tells_its_limit() -> None:
    limit = kernel_limit()
    assert limit is not None
    assert limit >= 4096


def test_only_with_cyclone_dds_the_limit_of_the_kernel_is_what_to_raise() -> None:
    limit = kernel_limit()
    now = '' if limit is None else f' (now {limit >> 10} KiB)'
    assert how_to_enlarge('rmw_cyclonedds_cpp') == f'raise net.core.rmem_max{now}'
    other = how_to_enlarge('rmw_fastrtps_cpp')
    assert other == "enlarge the receive buffer by rmw_fastrtps_cpp's own settings"

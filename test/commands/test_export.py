"""`vseg export`: its options and its one line where it cannot."""

from __future__ import annotations

import pytest

from vseg_ros.commands.export import read_export_size
from vseg_ros.errors import UserError


def test_size_is_height_and_width_or_dynamic() -> None:
    assert read_export_size('352x480') == (352, 480)
    assert read_export_size('dynamic') is None


@pytest.mark.parametrize('text', ['', '352', '0x480', 'axb', '1x2x3', '99999x32', '-32x64'])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match='height x width'):
        read_export_size(text)


def test_weights_that_are_not_there(vseg, tmp_path) -> None:
    result = vseg('export', 'time2general', '--out', 'model.onnx', '--weights', 'nowhere')
    assert result.returncode == 2
    assert "vseg: no weights named 'nowhere'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_ditta_needs_what_was_learned(vseg, tmp_path) -> None:
    result = vseg('export', 'ditta', '--out', 'model.onnx', '--adapted', 'nowhere.safetensors')
    assert result.returncode == 2
    assert 'vseg: there is no file nowhere.safetensors' in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

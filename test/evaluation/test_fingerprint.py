"""Fingerprints: equal for what is equal, different for whatever could change a result."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.evaluation import fingerprint
from vseg_ros.evaluation.fingerprint import Fingerprints, code_fingerprint, digest_of
from vseg_ros.io.source import open_source
from vseg_ros.settings import DittaSettings


def digest(value):
    return digest_of(Fingerprints().describe(value))


@pytest.mark.parametrize(('a', 'b'), [
    (1, 2), (1, '1'), (1.0, 1.5), (None, 0), ([1, 2], [2, 1]), ({'a': 1}, {'a': 2}),
    (Weather('fog', 3), Weather('fog', 4)), (Fraction(1, 3), Fraction(1, 4)),
    (np.arange(3), np.arange(4)), (np.zeros(2, np.uint8), np.zeros(2, np.int8)),
    (b'a', b'b'), (partial(max, 1), partial(max, 2)), (max, min), (np.uint8, np.int8),
    (DittaSettings(), DittaSettings(seed=1)), ({1, 2}, {1, 3})])
def test_different_values_differ(a, b):
    assert digest(a) == digest(a)
    assert digest(a) != digest(b)


def test_a_source_counts_with_its_files(tmp_path: Path):
    import cv2
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((4, 4, 3), index, np.uint8))
    first = digest(open_source(tmp_path))
    assert digest(open_source(tmp_path)) == first
    os.utime(tmp_path / '1.png', ns=(1, 1))
    changed = digest(open_source(tmp_path))
    assert changed != first
    (tmp_path / '1.png').write_bytes((tmp_path / '1.png').read_bytes() + b'\0')
    os.utime(tmp_path / '1.png', ns=(1, 1))
    assert digest(open_source(tmp_path)) not in (first, changed)


def test_a_folder_that_is_a_bag_counts_with_what_is_in_it(tmp_path: Path):
    (tmp_path / 'a.db3').write_bytes(b'one')
    first = digest(tmp_path)
    (tmp_path / 'a.db3').write_bytes(b'three')
    assert digest(tmp_path) != first
    assert digest(tmp_path / 'gone') != first


def test_another_process_finds_the_same(tmp_path: Path):
    code = ('from vseg_ros.evaluation.fingerprint import *; from vseg_ros.io.source import '
            'open_source; print(digest_of(Fingerprints().describe('
            '[open_source("street:1:9"), {"b", "a", "c"}])))')
    made = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, check=True,
                          env=os.environ | {'PYTHONHASHSEED': '7'}, cwd=tmp_path)
    assert made.stdout.strip() == digest([open_source('street:1:9'), {'a', 'b', 'c'}])


def test_weights_count_by_their_content(tmp_path: Path):
    path = tmp_path / 'mine.safetensors'
    path.write_bytes(b'1')
    settings = {'segmenter': str(path), 'group': {'weights': 'driving-b0'}, 'device': 'auto'}
    first = Fingerprints().describe_weights(settings)
    assert set(first) == {str(path), 'driving-b0'}
    path.write_bytes(b'2')
    second = Fingerprints().describe_weights(settings)
    assert second[str(path)] != first[str(path)]
    assert second['driving-b0'] == first['driving-b0']
    folder = Fingerprints().describe_weights({'segmenter': str(tmp_path)})
    assert folder[str(tmp_path)][0][0] == 'mine.safetensors'
    hub = Fingerprints().describe_weights({'segmenter': 'nobody/has-this-model'})
    assert hub == {'nobody/has-this-model': 'not here yet'}


def test_the_code_counts():
    from vseg_ros import __version__
    assert code_fingerprint().startswith(f'{__version__} ')


def test_an_installation_for_ros_counts_as_the_same_code(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ('msg', 'srv', 'ditta'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'ditta' / 'step.py').write_text('1')
    monkeypatch.setattr(fingerprint, 'PACKAGE', tmp_path)

    def now() -> str:
        code_fingerprint.cache_clear()
        return code_fingerprint()
    try:
        plain = now()
        (tmp_path / 'msg' / '_query.py').write_text('generated')
        (tmp_path / 'srv' / '__init__.py').write_text('generated')
        (tmp_path / 'gone.py').symlink_to(tmp_path / 'nowhere.py')
        assert now() == plain
        (tmp_path / 'ditta' / 'step.py').write_text('2')
        assert now() != plain
    finally:
        code_fingerprint.cache_clear()

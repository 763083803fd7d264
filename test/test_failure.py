"""Errors on one line."""

from __future__ import annotations

import pytest

from vseg_ros.failure import first_line


@pytest.mark.parametrize(('said', 'line'), [
    ('no such file', 'no such file'), ('\n  bad magic:\n  at byte 7\n', 'bad magic'),
    ('', 'OSError'), ('  \n', 'OSError')])
def test_the_first_line_of_an_error(said: str, line: str) -> None:
    assert first_line(OSError(said)) == line

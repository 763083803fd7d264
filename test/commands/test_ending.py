"""How a command ends, as exit code and words on standard error."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
import torch

from vseg_ros.commands.ending import ends_cleanly
from vseg_ros.errors import UserError


@pytest.mark.parametrize(('error', 'code', 'said'), [
    (UserError('no such bag: check the path'), 2, 'vseg: no such bag: check the path'),
    (MemoryError(), 2, 'vseg: out of memory (MemoryError): lower input_size'),
    (torch.cuda.OutOfMemoryError('CUDA out of memory.\nTried 2 GiB'), 2,
     'vseg: out of memory (CUDA out of memory. Tried 2 GiB): lower input_size'),
    (KeyboardInterrupt(), 130, ''), (SystemExit(1), 1, ''), (SystemExit(None), None, '')])
def test_exit_code_and_line(error: BaseException, code: int | None, said: str,
                            capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, ends_cleanly():
        raise error
    assert left.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(said) for line in lines)


def test_a_defect_keeps_its_exception() -> None:
    with pytest.raises(ZeroDivisionError), ends_cleanly():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


SCRIPT = """
import sys, time
from vseg_ros.commands.ending import ends_cleanly
with ends_cleanly():
    try:
        print('ready', flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print('closed')
        sys.exit(130)
"""


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_what_is_open(number: int, code: int) -> None:
    """The block itself says 130, as the command line does, which knows no other signal."""
    with subprocess.Popen([sys.executable, '-c', SCRIPT], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(number)
        said, errors = process.communicate(timeout=30)
    assert (said, errors, process.returncode) == ('closed\n', '', code)


def test_it_may_run_in_any_thread() -> None:
    done: list[bool] = []

    def work() -> None:
        with ends_cleanly():
            done.append(True)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]

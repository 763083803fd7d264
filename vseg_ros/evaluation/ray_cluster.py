"""
Trials on many machines, as tasks of a Ray cluster.

Ray is an optional extra. A task gets a pickled trial and sends its score back to the caller,
which alone writes files. Every machine needs the sources and weights under the same paths (a
shared file system) and the same version of this package. Ray tries the tasks of a dead worker or
machine again; a task takes one core, and where the cluster has GPUs and the settings may use
them, one GPU.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Generator
from typing import Any

from vseg_ros.errors import UserError
from vseg_ros.evaluation.fingerprint import code_fingerprint
from vseg_ros.evaluation.trial import (
    Failure,
    Outcome,
    SetupError,
    Trial,
    TrialTick,
    attempt,
)
from vseg_ros.failure import first_line

RETRIES = 1
"""How often Ray begins a trial again whose worker or machine dies."""
LOCAL = 'local'
"""The address that starts Ray on this machine alone."""


def _work(trial: Trial, folder: str, code: str) -> Outcome | SetupError:
    """Carry a trial out on whatever machine this is."""
    host = platform.node()
    if code_fingerprint() != code:
        return SetupError(f'the Ray worker {host} has another version of vseg_ros: install the '
                          'same one on all machines')
    try:
        # Relative paths are those of the caller.
        os.chdir(folder)
    except OSError:
        return SetupError(f'the Ray worker {host} has no folder {folder}: sources need the same '
                          'path on all machines, such as that of a shared file system')
    try:
        return attempt(trial, lambda shown, text: None)
    except SetupError as error:
        return SetupError(f'{error} (on the Ray worker {host})')


def _import_ray() -> Any:
    """
    Return the module.

    Raises:
        UserError: it is not installed.

    """
    # Ray asks its users for figures about their clusters; it is for them to turn that on.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    # The default of a coming release: GPUs stay visible to tasks that ask for none.
    os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
    try:
        return importlib.import_module('ray')
    except ImportError as error:
        raise UserError('--ray needs Ray, which is not installed: pip install vseg_ros[ray]',
                        ) from error


def _connect(ray: Any, address: str) -> None:
    """
    Connect to a cluster.

    Raises:
        UserError: there is none, or it has another version of Ray or Python.

    """
    try:
        ray.init(address, logging_level='error', log_to_driver=False,
                 **({'include_dashboard': False} if address == LOCAL else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UserError(f'cannot reach a Ray cluster at {address!r} ({first_line(error)}): start '
                        'one with `ray start --head`, check the address, or set '
                        'RAY_AUTH_MODE=token if the cluster asks for a token') from error


def _gpus_of(ray: Any, trial: Trial) -> int:
    """Return how many GPUs a trial takes: Ray hides them from tasks that ask for none."""
    device = trial.variant.settings.device
    if device == 'auto':
        return int(ray.cluster_resources().get('GPU', 0) >= 1)
    return int(device.startswith('cuda'))


def run_on_ray(trials: list[Trial], tick: TrialTick, *, address: str,
               ) -> Generator[tuple[Trial, Outcome], None, None]:
    """
    Carry trials out on a Ray cluster; see `Runner`. Progress is by the trial, not by the frame.

    Args:
        trials: what to do.
        tick: not called.
        address: `auto` for the cluster that this machine is part of, `HOST:PORT` of its head,
            `ray://HOST:PORT`, or `local` for one that lives as long as the call.

    Raises:
        SetupError: a pipeline cannot be made at all, or a machine lacks package or sources.
        UserError: Ray is not installed, or there is no such cluster.

    """
    ray = _import_ray()
    _connect(ray, address)
    try:
        work = ray.remote(_work)
        folder, code = os.getcwd(), code_fingerprint()
        under_way = {
            work.options(num_cpus=1, num_gpus=_gpus_of(ray, trial), max_retries=RETRIES,
                         name=trial.title).remote(trial, folder, code): trial
            for trial in trials}
        while under_way:
            ready, _ = ray.wait(list(under_way), num_returns=1)
            for task in ready:
                trial = under_way.pop(task)
                yield trial, _outcome(ray, task, trial)
    finally:
        ray.shutdown()


def _outcome(ray: Any, task: Any, trial: Trial) -> Outcome:
    """
    Return what came of a trial's task.

    Raises:
        SetupError: no task can succeed.

    """
    try:
        outcome = ray.get(task)
    except ray.exceptions.RayError as error:
        said = ' '.join(str(error).split())[:200]
        return Failure(f'{trial.title} failed on the cluster with {type(error).__name__}: {said}')
    if isinstance(outcome, SetupError):
        raise outcome
    assert not isinstance(outcome, BaseException)
    return outcome  # type: ignore[no-any-return]

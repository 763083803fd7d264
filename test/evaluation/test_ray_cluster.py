"""Trials on a Ray cluster; what needs Ray is skipped, saying so, where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vseg_ros.errors import UserError
from vseg_ros.evaluation.ray_cluster import run_on_ray

needs_ray = pytest.mark.skipif(importlib.util.find_spec('ray') is None,
                               reason='Ray is not installed: pip install vseg_ros[ray]')
SMALL = ('--pipelines', 'iss', '-p', 'input_size=64', '-p', 'precision=bfloat16')


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(UserError, match=r'pip install vseg_ros\[ray\]'):
        next(run_on_ray([], lambda *_: None, address='auto'))


def evaluate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'vseg_ros.cli', 'evaluate', *arguments], cwd=folder, text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'}, capture_output=True, check=False)


@needs_ray
def test_the_same_scores_as_here_and_kept_in_the_folder(streets, tmp_path: Path):
    streets.make('a', 1)
    # Relative, as a user gives it.
    common = ('streets/a/images', '--labels', 'streets/a/labels', '--warmup-ratio', '10,50',
              *SMALL)
    for name, where in (('here', ()), ('ray', ('--ray', 'local', '--resume', 'kept'))):
        made = evaluate(tmp_path, *common, '--json', f'{name}.json', *where)
        assert made.returncode == 0, made.stderr
    here, ray = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('here', 'ray'))
    for one, other in zip(here['runs'], ray['runs'], strict=True):
        for score in ('miou', 'wiou', 'mvc8', 'mvc16'):
            assert one['pipelines']['iss'][score] == other['pipelines']['iss'][score]
    assert len(list((tmp_path / 'kept').glob('*.score'))) == 2


@pytest.fixture
def cluster():
    """Two machines, each a process of Ray on this one, and a head that does not compute."""
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={'num_cpus': 0})
    machines.add_node(num_cpus=1)
    yield machines
    machines.shutdown()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@needs_ray
def test_a_machine_that_dies_costs_no_score(tmp_path: Path, cluster):
    sources = [f'street:{seed}:60' for seed in range(6)]
    fragile = cluster.add_node(num_cpus=1)
    kept = tmp_path / 'kept'
    command = [sys.executable, '-m', 'vseg_ros.cli', 'evaluate', *sources, '--warmup-ratio', '10',
               *SMALL, '--ray', cluster.address, '--resume', str(kept)]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=os.environ | {'OMP_NUM_THREADS': '1'},
                          ) as evaluation:
        wait_for(lambda: any(kept.glob('*.score')))
        cluster.remove_node(fragile, allow_graceful=False)
        _, said = evaluation.communicate(timeout=300)
    assert evaluation.returncode == 0, said
    assert len(list(kept.glob('*.score'))) == len(sources)


@needs_ray
def test_no_cluster_is_one_line(tmp_path: Path):
    made = evaluate(tmp_path, 'street:1:4', *SMALL, '--ray', 'auto')
    assert made.returncode == 2
    assert made.stderr.strip().startswith("vseg: cannot reach a Ray cluster at 'auto'")
    assert len(made.stderr.strip().splitlines()) == 1

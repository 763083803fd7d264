"""
Tests that need ROS 2: skipped, and said so, without one.

The message types must be built. In `colcon test` they are; otherwise the checkout is built here
with CMake, once in a run, into pytest's cache (a few seconds when nothing has changed), and the
environment is set so that this process and those it starts find it. Every test has a DDS domain
of its own, so that nothing outside, and no test beside it, is heard.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import vseg_ros

ROOT = Path(__file__).parents[2]
NO_ROS = 'needs ROS 2: source /opt/ros/DISTRO/setup.bash'


class _Skipped(pytest.Module):
    """A test module that is skipped without being imported."""

    def collect(self) -> Any:
        pytest.skip(NO_ROS, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """See that the message types are there before a test module imports them."""
    if importlib.util.find_spec('rclpy') is None:
        return _Skipped.from_parent(parent, path=module_path)
    if importlib.util.find_spec('vseg_ros.msg') is None:
        cache = getattr(parent.config, 'cache', None)
        _overlay(Path(tempfile.mkdtemp()) if cache is None else cache.mkdir('ros_overlay'))
    return None


@functools.cache
def _overlay(folder: Path) -> None:
    """Build and install the package below `folder`, and let this process find it."""
    prefix = folder / os.environ.get('ROS_DISTRO', 'ros') / 'install'
    built_by, run = folder / 'built_by', os.environ.get('PYTEST_XDIST_TESTRUNUID', '')
    with FileLock(folder / 'building'):
        # Of the processes that share a run of the tests one builds.
        if not run or not built_by.is_file() or built_by.read_text() != run:
            # An installation keeps what is no longer part of the package.
            shutil.rmtree(prefix, ignore_errors=True)
            _build(prefix.parent / 'build', prefix)
            built_by.write_text(run)
    packages = next(prefix.glob('**/site-packages'), None) or next(prefix.glob('**/dist-packages'))
    vseg_ros.__path__.append(str(packages / 'vseg_ros'))
    for variable, path in (('PYTHONPATH', packages), ('LD_LIBRARY_PATH', prefix / 'lib'),
                           ('AMENT_PREFIX_PATH', prefix)):
        os.environ[variable] = os.pathsep.join(
            part for part in (str(path), os.environ.get(variable, '')) if part)
    # The loader has read LD_LIBRARY_PATH long ago, but finds again what is already loaded.
    for library in (prefix / 'lib').glob('libvseg_ros__*_c.so'):
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def _build(build: Path, prefix: Path) -> None:
    configure = ['cmake', '-S', ROOT, '-B', build, f'-DCMAKE_INSTALL_PREFIX={prefix}',
                 f'-DCMAKE_INSTALL_RPATH={prefix / "lib"}', '-DBUILD_TESTING=OFF',
                 '-DAMENT_CMAKE_SYMLINK_INSTALL=ON', f'-DPython3_EXECUTABLE={_generator()}',
                 '-DPython3_FIND_VIRTUALENV=STANDARD', *_python_of_humble()]
    for command in (configure, ['cmake', '--build', build, '--target', 'install']):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            tail = '\n'.join((done.stdout + done.stderr).splitlines()[-30:])
            raise pytest.UsageError(f'the ROS package cannot be built:\n{tail}')


def _python_of_humble() -> list[str]:
    """Name the same Python as Humble's CMake looks for it; it would take the system's."""
    library = Path(sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('INSTSONAME'))
    return [f'-DPYTHON_EXECUTABLE={_generator()}', f'-DPYTHON_LIBRARY={library}',
            f'-DPYTHON_INCLUDE_DIR={sysconfig.get_path("include")}']


def _generator() -> str:
    """Find the Python that can run ROS' generators: this one, or the one its environment is of."""
    base = Path(sys.base_prefix, 'bin', f'python3.{sys.version_info.minor}')
    if not base.exists():
        return sys.executable
    done = subprocess.run([base, '-c', 'import catkin_pkg, em, lark, numpy'], capture_output=True)
    return sys.executable if done.returncode else str(base)


@pytest.fixture(scope='session')
def tiny_time2general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Time2General of clips of 3 frames, untrained and small, as a file."""
    import torch

    from vseg_ros.labels import DRIVING
    from vseg_ros.time2general.saved import new_time2general, write_time2general
    from vseg_ros.training_settings import Time2GeneralModelSettings
    torch.manual_seed(0)
    model = new_time2general(Time2GeneralModelSettings(
        backbone='driving-b0', blocks=(1, 2, 3, 4), queries=8, width=16, decoder_blocks=1,
        heads=2, points=1, feed_forward=16, clip_length=3, upsampling=0), DRIVING)
    with torch.no_grad():
        # As it is made, it sees one and the same class everywhere.
        for parameter in model.head.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    write_time2general(model, path)
    return path


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the test, and the processes it starts, a DDS domain that nobody else uses."""
    from domain_coordinator import domain_id
    # Not the first free one: what a test before leaves behind may still talk in that.
    with domain_id(lambda: random.randint(1, 100)) as number:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(number))
        monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        # What `#!/usr/bin/env python3` starts is the Python of the tests.
        monkeypatch.setenv('PATH', f'{Path(sys.executable).parent}{os.pathsep}'
                           f'{os.environ["PATH"]}')
        yield number


DISCOVERY = 0.5
"""Seconds in which two that talk already find each other's topics and services."""


class Ros:
    """A ROS context with nodes, spun by hand."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Any] = []

    def node(self, name: str, make: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Make a node, or a lifecycle node with `make=LifecycleNode`, and add it."""
        from rclpy.node import Node
        node = (make or Node)(name, context=self.context, **options)
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Spin until the condition holds; fail after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'nothing happened in time'
            self.executor.spin_once(timeout_sec=0.05)

    def settle(self) -> None:
        """
        Wait until the other side has found what this side has found.

        DDS does not say when: what is sent before is lost.
        """
        end = time.monotonic() + DISCOVERY
        self.until(lambda: time.monotonic() > end)

    def find(self, client: Any, timeout: float = 30) -> None:
        """Wait for the service of a client, and until it has found the client, too."""
        self.until(client.service_is_ready, timeout)
        self.settle()

    def close(self) -> None:
        """Destroy everything."""
        import rclpy
        for node in self._nodes:
            node.destroy_node()
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def ros(domain: int) -> Iterator[Ros]:
    """Make a ROS context in the test's own domain."""
    ros = Ros()
    yield ros
    ros.close()

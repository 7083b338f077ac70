"""Fixtures: each program is stopped by its own handle, whatever became of the test."""

import itertools
import os
import shutil
import socket
import subprocess
import time

import pytest
from programs import EXAMPLES, PACE, Client, Program

IDLE, ABSOLUTE = 2 * PACE, 6 * PACE


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Nearly all of a test's time is waiting for a session's end: each worker gets one of those that wait longest."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.sort(key=lambda item: ("absolute_timeout" not in item.name, "site" not in item.fixturenames))
    items[:] = [item for worker in range(workers) for item in items[worker::workers]]


def starter(folder):
    running = []
    number = itertools.count()

    def start(*command, env=None):
        command = (
            (EXAMPLES / command[0], "--listen", "127.0.0.1:0", *command[1:]) if isinstance(command[0], str) else command
        )
        program = Program(folder / f"{next(number)}.log", *command, env=env)
        running.append(program)
        return program

    def stop():
        for program in running:
            if program.process.poll() is None:
                program.end()

    return start, stop


@pytest.fixture
def start(tmp_path):
    """Starts an example by its name, or a command by its path."""
    start, stop = starter(tmp_path)
    yield start
    stop()


@pytest.fixture(scope="session")
def start_for_all(tmp_path_factory):
    """The same, for programs that many tests ask."""
    start, stop = starter(tmp_path_factory.mktemp("shared"))
    yield start
    stop()


@pytest.fixture(scope="session")
def axum(start_for_all):
    return start_for_all("axum", "--idle", IDLE, "--absolute", ABSOLUTE, "--warn", "0.5")


@pytest.fixture(scope="session")
def hyper(start_for_all):
    return start_for_all("hyper", "--idle", IDLE, "--absolute", ABSOLUTE)


@pytest.fixture
def client(axum):
    return Client(axum.url)


@pytest.fixture
def redis(tmp_path):
    """A server on a free port: its URL, and how to kill it."""
    program = shutil.which("redis-server")
    assert program, "redis-server is installed"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )

    def kill():
        server.kill()
        server.wait()

    try:
        for _ in range(200 * PACE):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}", kill
    finally:
        kill()

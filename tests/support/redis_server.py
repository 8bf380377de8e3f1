"""A real Redis server for tests, on a unix socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class RedisServer:
    """A server that keeps an append-only file. It can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--logfile", str(self.folder / "log"), *self._options]
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(command)  # noqa: S603 - a fixture of ours
        for _ in range(500):
            if self.cli("PING").strip().endswith(("PONG", "required.")):
                return
            time.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """End the server at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def file(self) -> Path:
        """The append-only file."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)

    def cut(self, size: int) -> None:
        """Cut the end of the append-only file, as a power cut may do, while the server is down."""
        with self.file.open("r+b") as opened:
            opened.truncate(max(0, self.file.stat().st_size - size))

    def cli_command(self, *arguments: str) -> list[str]:
        """Return the command that runs a command in redis-cli."""
        return ["redis-cli", "-s", str(self.socket), *arguments]

    def cli(self, *arguments: str) -> str:
        """Run a command in redis-cli and return what it prints."""
        done = subprocess.run(self.cli_command(*arguments), capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout


def running(*options: str) -> Iterator[RedisServer]:
    """Yield a running server; skip the test if Redis isn't installed, or fail it under CI."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            raise AssertionError("redis-server is missing; `.ci/run` installs it")
        pytest.skip("redis-server isn't installed")
    with tempfile.TemporaryDirectory(prefix="redis") as folder:  # a unix socket's path must be short
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()

"""Every check of this project, one session each. `nox -l` lists them, `nox -s lint` runs one, `.ci/run` runs all.

Sessions install with uv, which nox brings as `nox[uv]`. Only `readme` uses pip, since its commands are the README's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
ROOT = Path(__file__).parent
QUICK = ("-m", "pytest", "-q", "-n", "auto")
EVERYTHING = (*QUICK, "-m", "", "--hypothesis-profile=thorough", "--timeout=1200")
FOR_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CONFIG_FILE)|SSL_CERT_\w+|\w+_PROXY",
    re.IGNORECASE,
)
"""The variables that pip needs to reach its index."""
MINUTES = 20
"""Time limit for one README command, on a slow machine."""

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True  # a skipped session would look like a passed one
nox.options.download_python = "never"
nox.options.stop_on_first_error = True

# uv reads neither pip's index nor its certificates.
for pips, uvs in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
    if pips in os.environ:
        os.environ.setdefault(uvs, os.environ[pips])


@nox.session(python="3.12")
def lint(session: nox.Session) -> None:
    """Run ruff, import-linter, mypy and pyright, and check that every public name has a type."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("mypy")
    session.run("pyright")
    # Without --ignoreexternal, untyped parts of httpx and others would count as ours.
    session.run("pyright", "--ignoreexternal", "--verifytypes", "smspva_async")


@nox.session(python=False)
def readme(session: nox.Session) -> None:
    """Run the README's commands in a fresh copy, with the environment of a new user."""
    commands = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for number, command in enumerate(commands, start=1):
        session.log(f"README command {number}: {command.strip()}")
        _run_as_new_user(command.strip(), is_service="web_service" in command)


@nox.session(python=PYTHONS[1])
def quick(session: nox.Session) -> None:
    """Run the quick tests, as the README's second command does."""
    session.install("-e", ".[test,sdk]")
    session.run("python", *QUICK, *session.posargs)


@nox.session(python=PYTHONS[-1])
def everything(session: nox.Session) -> None:
    """Run all tests, including the slow ones, with many examples for each property test."""
    session.install("-e", ".[test,sdk]")
    session.run("python", *EVERYTHING, *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the quick tests of the wheel, outside of the checkout, with the lowest versions that it allows."""
    _test_package(session, "*.whl", "--resolution", "lowest-direct")


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """Run the quick tests of the sdist, outside of the checkout, with the newest versions."""
    _test_package(session, "*.tar.gz")


@nox.session(python=PYTHONS[-1])
def benchmarks(session: nox.Session) -> None:
    """Run the short form of the benchmarks."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "benchmarks", "--short")


def _test_package(session: nox.Session, built: str, *resolution: str) -> None:
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("uv", "build", "-q", "--out-dir", str(folder / "dist"), str(ROOT), external=True)
    (package,) = (folder / "dist").glob(built)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder, filter="data")
    (source,) = folder.glob("smspva_async-*")
    shutil.rmtree(source / "smspva_async")  # only the installed package can be imported
    # uv takes the lowest versions of what is asked for directly, not of what a wheel asks for.
    requirements = ("-r", str(source / "pyproject.toml"), "--extra", "test", "--extra", "sdk")
    session.run("uv", "pip", "install", "-q", *resolution, *requirements, str(package), external=True)
    session.chdir(source)
    session.run("python", *QUICK, *session.posargs)


def _run_as_new_user(command: str, *, is_service: bool) -> None:
    """Run a command in a fresh copy of the tree. A service only has to start."""
    environment = {name: value for name, value in os.environ.items() if FOR_PIP.fullmatch(name)}
    with TemporaryDirectory() as folder:
        copy, home = Path(folder) / "copy", Path(folder) / "home"
        home.mkdir()
        files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(files, cwd=ROOT, text=True).strip("\0").split("\0"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        running = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command + (" --port 0" if is_service else "")],
            cwd=copy,
            env=environment | {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        limit = Timer(MINUTES * 60, os.killpg, (running.pid, signal.SIGKILL))
        limit.start()
        is_up = False
        try:
            for line in running.stdout or ():
                sys.stdout.write(line)
                if is_service and "running on http://127.0.0.1" in line:
                    is_up = True
                    os.killpg(running.pid, signal.SIGTERM)
            in_time = not limit.finished.is_set()
        finally:
            limit.cancel()
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        if running.wait() != 0 and not is_up:
            reason = "failed" if in_time else f"not done within {MINUTES} minutes"
            raise RuntimeError(f"{reason}, exit code {running.returncode}: {command}")

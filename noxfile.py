"""The checks of this project, one session each. `nox -l` lists them, `nox -s lint` runs one, `.ci/run` runs all.

Sessions install with uv, which comes with `nox[uv]`. The session `readme` installs only with the documented commands.
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
from tarfile import TarFile
from tempfile import TemporaryDirectory
from threading import Timer
from typing import TYPE_CHECKING
from zipfile import ZipFile

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))
from tests.support.documents import block, blocks, documents  # standard library only

PYTHONS = ["3.11", "3.12", "3.13"]
ROOT = Path(__file__).parent
QUICK = ("-m", "pytest", "-q", "-n", "auto")
EVERYTHING = (*QUICK, "-m", "", "--hypothesis-profile=thorough", "--timeout=1200")
FOR_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CONFIG_FILE)|UV_DEFAULT_INDEX|SSL_CERT_\w+|\w+_PROXY",
    re.IGNORECASE,
)
"""The variables that pip and uv need to reach their index."""
MINUTES = 20
"""Time limit for one documented command, on a slow machine."""
FOREIGN = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:https?:)?//[^>]+>")
"""An element of a page that makes a browser load something from another host."""
REPOSITORY = re.compile(r"(?<=git\+)https://[\w./-]+")
"""The repository's address in a documented command."""

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True  # a skipped session would look like a passed one
nox.options.download_python = "never"
nox.options.stop_on_first_error = True

# uv doesn't read pip's variables for the index and the certificates.
for pip_variable, uv_variable in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
    if pip_variable in os.environ:
        os.environ.setdefault(uv_variable, os.environ[pip_variable])


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
    """Run each shell command of the README and of `docs` in a fresh copy, with the environment of a new user."""
    for shown in blocks():
        if shown.language == "sh":
            command = shown.code.strip()
            session.log(f"{shown.file}, line {shown.line}: {command}")
            _run_as_new_user(command, is_service="web_service" in command)


@nox.session(python="3.12")
def docs(session: nox.Session) -> None:
    """Check that the documentation builds, in a temporary folder. Every warning is an error."""
    session.install("-e", ".[docs]")
    with TemporaryDirectory() as folder:
        session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", folder, env={"NO_MKDOCS_2_WARNING": "1"})
        for page in Path(folder).rglob("*.html"):
            loaded = FOREIGN.findall(page.read_text("utf-8"))
            if loaded:
                session.error(f"{page.relative_to(folder)} loads from another host: {loaded}")


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


@nox.session(python=PYTHONS[0])
def release(session: nox.Session) -> None:
    """Build `dist` and check it as a release. `nox -s release -- v0.1.0` also checks that this tag can be published."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("uv", "build", "-q", "--out-dir", str(dist), str(ROOT), external=True)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    session.run("uv", "tool", "run", "-q", "twine", "check", "--strict", str(wheel), str(sdist), external=True)
    problems = [*_misplaced(wheel, sdist), *_release_problems(wheel.name.split("-")[1], session.posargs)]
    if problems:
        session.error("\n".join(problems))
    # The environment is new, so a missing dependency fails here.
    session.run("uv", "pip", "install", "-q", f"smspva-async[cli] @ {wheel.as_uri()}", external=True)
    session.chdir(session.create_tmp())
    session.run("smspva", "--version")
    session.run("python", "-c", block("first program").code)


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
    # uv takes the lowest versions of direct requirements only, not of a wheel's requirements.
    requirements = ("-r", str(source / "pyproject.toml"), "--extra", "test", "--extra", "sdk")
    session.run("uv", "pip", "install", "-q", *resolution, *requirements, str(package), external=True)
    session.chdir(source)
    session.run("python", *QUICK, *session.posargs)


def _misplaced(wheel: Path, sdist: Path) -> Iterator[str]:
    """Yield problems with the contents of the wheel and the sdist."""
    with ZipFile(wheel) as files:
        installed = {name.split("/")[0] for name in files.namelist()}
        if "smspva_async/py.typed" not in files.namelist():
            yield f"{wheel.name} has no smspva_async/py.typed"
    if installed != {"smspva_async", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}:
        yield f"{wheel.name} installs {installed}"
    with TarFile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    if names - {"", "PKG-INFO"} != {*_files()}:
        yield f"{sdist.name} and the repository differ in {names ^ {*_files()}}"


def _release_problems(version: str, tags: list[str]) -> Iterator[str]:
    """Yield reasons why a version, or its tag if there is one, can't be published."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## \[(.+)\] - (.+)$", changelog, re.MULTILINE)
    if newest is None or newest[1] != version:
        yield f"the package has version {version}, CHANGELOG.md begins with {newest and newest[0]!r}"
    for tag in tags:
        if tag != f"v{version}":
            yield f"the tag is {tag}, the package has version {version}"
        if newest and not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
            yield f"CHANGELOG.md has no date for {newest[1]}"
        for path in documents():
            if "github.com/OWNER/" in path.read_text("utf-8"):
                yield f"{path.relative_to(ROOT)} has the placeholder OWNER instead of the repository's address"
        if re.search(r"\]\((?!https?:|#)", (ROOT / "README.md").read_text("utf-8")):
            yield "README.md has relative links, which lead nowhere on PyPI"
        if not re.search(r"^site_url:", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE):
            yield "mkdocs.yml has no site_url"
        if "[project.urls]" not in (ROOT / "pyproject.toml").read_text("utf-8"):
            yield "pyproject.toml has no [project.urls]"


def _run_as_new_user(command: str, *, is_service: bool) -> None:
    """Run a command in a fresh copy of the tree, or in an empty folder if it installs from the repository's address.

    A service only has to start.
    """
    environment = {name: value for name, value in os.environ.items() if FOR_PIP.fullmatch(name)}
    path = f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}"  # the last folder has uv
    with TemporaryDirectory() as folder:
        copy, home = Path(folder) / "copy", Path(folder) / "home"
        home.mkdir()
        _copy_tree(copy)
        address = REPOSITORY.search(command)
        if address:
            _serve_instead_of(address[0], copy, home)
        running = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command + (" --port 0" if is_service else "")],
            cwd=home if address else copy,
            env=environment | {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"},
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
            reason = "failed" if in_time else f"not finished within {MINUTES} minutes"
            raise RuntimeError(f"{reason}, exit code {running.returncode}: {command}")


def _files() -> list[str]:
    """Return the files that are part of the repository, or could be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).strip("\0").split("\0")
    return [name for name in names if (ROOT / name).exists()]


def _copy_tree(copy: Path) -> None:
    for name in _files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)


def _serve_instead_of(address: str, copy: Path, home: Path) -> None:
    """Make git in this home use the copy instead of an address, which isn't reachable before a release."""
    git = ["git", "-c", "user.name=nox", "-c", "user.email=nox@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A copy of the tree"]):
        subprocess.run([*git, *arguments], cwd=copy, check=True)
    (home / ".gitconfig").write_text(f'[url "{copy.as_uri()}"]\n\tinsteadOf = {address}\n', encoding="utf-8")

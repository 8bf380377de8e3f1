"""The account that a command works with, and the place of its ledger."""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click
import platformdirs
from attrs import frozen

from smspva_async import Pace, SmspvaClient
from smspva_async._api import validation
from smspva_async._http.redaction import ApiKey
from smspva_async.cli._values import ADDRESS, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Account", "with_account"]

R = TypeVar("R")

_PRIVATE = 0o700


@frozen
class Account:
    """An account at a server."""

    key: ApiKey
    base_url: str
    gap: float
    """Seconds between two requests."""

    def client(self, *, ledger: Path | None = None) -> SmspvaClient:
        """Return a client of the account."""
        return SmspvaClient(self.key.key, base_url=self.base_url, pace=Pace(gap=self.gap), ledger=ledger)

    def ledger(self) -> Path:
        """Return the account's ledger in the user's state folder, which is made if need be.

        The provider's mirrors share it; what runs on this machine, such as a simulator, has another.
        """
        address = urlsplit(self.base_url)
        place = f"-{address.netloc.replace(':', '-')}" if address.scheme == "http" else ""
        try:
            folder = platformdirs.user_state_path("smspva", appauthor=False)
        except RuntimeError:
            folder = Path()
        if not folder.is_absolute():  # HOME is unset, and the user has no entry with a home folder
            raise click.UsageError("there is no home folder for the ledger; nothing was sent, give --ledger")
        try:
            folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(
                f"the folder {folder} for the ledger can't be made ({error.strerror}); nothing was sent, give --ledger"
            ) from None
        return folder / f"ledger-{self.key.fingerprint()[:8]}{place}.sqlite"


def with_account(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options that name an account, and the account as its first argument."""

    @click.option(
        "--api-key-file",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="A file with the API key; by default the key is in the environment variable SMSPVA_API_KEY.",
    )
    @click.option(
        "--base-url",
        type=ADDRESS,
        envvar="SMSPVA_BASE_URL",
        default=validation.DEFAULT_BASE_URL,
        metavar="URL",
        show_default=True,
        show_envvar=True,
        help="The address of the API.",
    )
    @click.option(
        "--gap", type=SECONDS, default=Pace().gap, show_default="1.5", metavar="SECONDS", help="Between two requests."
    )
    @wraps(command)
    def of_account(*args: Any, api_key_file: Path | None, base_url: str, gap: float, **options: Any) -> R:  # noqa: ANN401
        return command(Account(_key(api_key_file), base_url, gap), *args, **options)

    return of_account


def _key(file: Path | None) -> ApiKey:
    """Return the key, read once: a pipe such as ``<(pass smspva)`` can't be read again."""
    if file is None:
        key, place = os.environ.get("SMSPVA_API_KEY", ""), "the environment variable SMSPVA_API_KEY"
    else:
        try:
            key, place = file.read_text(encoding="utf-8-sig"), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise click.UsageError(f"the API key can't be read from {file}: {reason}") from None
    key = key.strip()
    if not key:
        other = "; --api-key-file names a file with one" if file is None else ""
        raise click.UsageError(f"there is no API key in {place}{other}")
    problem = validation.api_key_problem(key)
    if problem:
        raise click.UsageError(f"{place}: {problem}")
    return ApiKey(key)

"""The account that a command uses, its ledger, and the options for both."""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import platformdirs
from attrs import evolve, frozen

from smspva_async import Pace, SmspvaClient
from smspva_async._api import validation
from smspva_async._http.redaction import ApiKey
from smspva_async.cli._known import server_suffix
from smspva_async.cli._parameters import SECONDS, URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async._http.transport import Transport
    from smspva_async.fleet import RedisFleet

R = TypeVar("R")

_PRIVATE = 0o700


@frozen
class Account:
    """An account at a server."""

    key: ApiKey
    base_url: str
    gap: float
    """Seconds between two requests."""
    ledger: Path | None = None
    fleet: str | None = None
    """The address of a fleet's Redis."""
    fleet_name: str = "main"

    def client(self, transport: Transport | None = None) -> SmspvaClient:
        """Return a client of the account. Without entering it, its ledger file can be read; no request is sent."""
        pace, fleet = Pace(gap=self.gap), None if self.fleet is None else redis_fleet(self)
        ledger = self.ledger if fleet is None else None
        return SmspvaClient(
            self.key.key, base_url=self.base_url, pace=pace, ledger=ledger, fleet=fleet, transport=transport
        )


def redis_fleet(account: Account) -> RedisFleet:
    """Return the account's fleet."""
    if account.fleet is None:
        raise click.UsageError("there is no fleet to show; set SMSPVA_FLEET or use --fleet")
    try:
        from smspva_async.fleet import RedisFleet  # noqa: PLC0415 - coredis takes a second to import
    except ImportError as error:
        raise click.UsageError(str(error)) from None
    return RedisFleet(account.fleet, name=account.fleet_name)


def with_account(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options of an account to a command, which gets the `Account` as its first argument."""

    @click.option(
        "--api-key-file",
        type=click.Path(path_type=Path),
        help="Read the API key from this file instead of the environment variable SMSPVA_API_KEY.",
    )
    @click.option(
        "--base-url",
        type=URL,
        envvar="SMSPVA_BASE_URL",
        default=validation.DEFAULT_BASE_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the API.",
    )
    @click.option(
        "--gap", type=SECONDS, default=Pace().gap, show_default=True, help="Minimum time between two requests."
    )
    @click.option(
        "--fleet",
        envvar="SMSPVA_FLEET",
        show_envvar=True,
        metavar="URL",
        help="Redis through which processes share the account's pace, ledger and events.",
    )
    @click.option(
        "--fleet-name", envvar="SMSPVA_FLEET_NAME", default="main", show_default=True, help="The fleet's name in Redis."
    )
    @wraps(command)
    def run_with_account(
        *args: Any,  # noqa: ANN401 - click's
        api_key_file: Path | None,
        base_url: str,
        gap: float,
        fleet: str | None,
        fleet_name: str,
        **options: Any,  # noqa: ANN401 - click's
    ) -> R:
        return command(
            Account(_read_key(api_key_file), base_url, gap, fleet=fleet or None, fleet_name=fleet_name),
            *args,
            **options,
        )

    return run_with_account


def with_ledger(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options of an account and its ledger to a command, which gets the `Account` as its first argument."""

    @click.option(
        "--ledger",
        type=click.Path(dir_okay=False, path_type=Path),
        show_default="in the user's state folder",
        help="File that records purchases.",
    )
    @with_account
    @wraps(command)
    def run_with_ledger(account: Account, *args: Any, ledger: Path | None, **options: Any) -> R:  # noqa: ANN401 - click's
        if account.fleet is not None:
            if ledger is not None:
                raise click.UsageError("use either --ledger or --fleet, not both: a fleet has its own ledger")
            return command(account, *args, **options)
        ledger = ledger or _default_ledger(account)
        _check_access(ledger)
        return command(evolve(account, ledger=ledger), *args, **options)

    return run_with_ledger


def read_secret(name: str, file: Path | None, option: str, variable: str) -> str:
    """Return a secret from a file or, without one, from an environment variable.

    The file is read only once: a pipe such as ``<(pass smspva)`` can't be read again.

    Args:
        name: The secret's name in messages.
        file: The file.
        option: The option that names the file.
        variable: The environment variable.

    """
    if file is None:
        secret, place = os.environ.get(variable, ""), f"the environment variable {variable}; set it or use {option}"
    else:
        try:
            secret, place = file.read_text(encoding="utf-8-sig"), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't a text file"
            raise click.UsageError(f"can't read the {name} from {file}: {reason}") from None
    if not secret.strip():
        raise click.UsageError(f"there is no {name} in {place}")
    return secret.strip()


def _read_key(file: Path | None) -> ApiKey:
    key = read_secret("API key", file, "--api-key-file", validation.API_KEY_VARIABLE)
    if problem := validation.api_key_problem(key):
        raise click.UsageError(f"{file or validation.API_KEY_VARIABLE}: {problem}")
    return ApiKey(key)


def _default_ledger(account: Account) -> Path:
    """Return the path of the account's ledger in the user's state folder, and create the folder.

    The provider's mirrors share a ledger. A server on this machine, such as a simulator, has its own.
    """
    try:
        folder = platformdirs.user_state_path("smspva", appauthor=False)
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # HOME is unset, and the system doesn't know the user's home folder
        raise click.UsageError("there is no home folder for the ledger; nothing was sent; use --ledger")
    try:
        folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            f"can't create the folder {folder} for the ledger ({error.strerror}); nothing was sent; use --ledger"
        ) from None
    return folder / f"ledger-{account.key.fingerprint()[:8]}{server_suffix(account.base_url)}.sqlite"


def _check_access(ledger: Path) -> None:
    """Raise before any request if the ledger can't be read and written."""
    if os.access(ledger, os.F_OK):
        is_accessible = os.access(ledger, os.R_OK | os.W_OK)
    else:
        is_accessible = os.access(ledger.parent, os.W_OK | os.X_OK)
    if not is_accessible:
        raise click.UsageError(f"can't read and write a ledger at {ledger}; nothing was sent; use another --ledger")

"""Clients with a ledger, for the commands that spend or look into what was spent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import click
from attrs import frozen

from smspva_async.cli._account import Account, with_account

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from smspva_async import SmspvaClient

__all__ = ["Books", "with_books"]

R = TypeVar("R")


@frozen
class Books:
    """An account and its ledger."""

    account: Account
    ledger: Path | None
    """None: the account's own in the user's state folder."""

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[SmspvaClient]:
        """Open a client with the ledger. Where Ctrl-C leaves a call without an outcome, `OutcomeUnknown` is raised."""
        async with self.account.client(ledger=self.ledger or self.account.ledger()) as client:
            before = {error.call for error in client.unsettled}
            try:
                yield client
            except anyio.get_cancelled_exc_class():
                for error in client.unsettled:
                    if error.call not in before:
                        raise error from None
                raise


def with_books(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options that name an account and its ledger, and both as its first argument."""

    @click.option(
        "--ledger",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="PATH",
        help="The file that remembers calls without an outcome; by default in the user's state folder.",
    )
    @with_account
    @wraps(command)
    def of_account(account: Account, *args: Any, ledger: Path | None, **options: Any) -> R:  # noqa: ANN401 - click's
        return command(Books(account, ledger), *args, **options)

    return of_account

"""The connection to Redis: joins the fleet, runs scripts, waits while Redis can't be reached, and sends heartbeats."""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import anyio.lowlevel
import coredis
from coredis import exceptions

from smspva_async._concurrency import WorkerThread, finish, has_ended, start_in
from smspva_async.errors import JournalError, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.lowlevel import EventLoopToken

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_FORM = 1
"""The version of the keys' form."""
_OLDEST_REDIS = 7
_FIRST_RETRY, _LONGEST_RETRY = 0.05, 1.0
_REPLY_TIMEOUT = 5.0
"""Seconds to wait for Redis to connect or reply."""
_UNREACHABLE = (exceptions.ConnectionError, exceptions.ReadOnlyError, TimeoutError, OSError)
_TEMPORARY = ("OOM", "MISCONF", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "BUSY")
"""The first words of errors that a Redis gives which may work again later."""


class Link:
    """A process's connection to the fleet's Redis. It connects at the first use, once in each event loop.

    Args:
        url: The address of Redis, possibly with a password.
        name: The fleet's name.
        lease: Seconds after which a silent member counts as dead.
        account: A slow function that returns the account's fingerprint.

    Raises:
        ValueError: The address isn't one of Redis.

    """

    def __init__(self, url: str, name: str, lease: float, account: Callable[[], str]) -> None:
        self.lease = lease
        self.member: str = ""
        """This process's id in the fleet; a new one after a fork and after each start."""
        self.failure: str | None = None
        """The reason why Redis can't be reached now."""
        self.prefix: str = f"smspva:{{{name}}}:"
        """The beginning of every key. The braces keep all keys in one slot of a cluster."""
        self.where: str = f"the fleet {name!r} at {address(url)}"
        """The fleet's name in messages, without the password."""
        self._url = url
        self._account = account
        self._fingerprint = ""
        self._process = 0
        self._loop: EventLoopToken | None = None
        self._redis: coredis.Redis[str] | None = None
        self._opening = anyio.Lock()
        self._stop = self._ended = anyio.Event()
        self._worker = WorkerThread("smspva fleet")

    def key(self, name: str) -> str:
        """Return the whole name of a key."""
        return self.prefix + name

    async def run(self, script: str, *arguments: str | float, within: float = math.inf) -> Any:  # noqa: ANN401 - Lua's
        """Run a script of the folder `scripts`, with the keys' prefix as its only key.

        Args:
            script: The file's name without ``.lua``.
            arguments: Its arguments.
            within: Seconds for which to wait if Redis can't be reached.

        Raises:
            JournalError: Redis can't be used: at the first use, or for longer than `within`.

        """
        source = _source(script)
        return await self.do(lambda redis: redis.register_script(source)([self.prefix], list(arguments)), within=within)

    async def do(self, action: Callable[[coredis.Redis[str]], Awaitable[T]], *, within: float = math.inf) -> T:
        """Run commands, again and again while Redis can't be reached, so they must be safe to repeat; see `run`."""
        deadline = anyio.current_time() + within
        delay = _FIRST_RETRY
        while True:
            redis = await self._connected()
            try:
                result = await action(redis)
            except Exception as error:
                reason = _reason(error)
                if reason is None:
                    raise JournalError(f"{self.where} failed: {describe(error)}") from None
                self._note_failure(reason)
                if anyio.current_time() + delay >= deadline:
                    raise JournalError(f"{self.where} can't be reached for {within:g} s: {reason}") from None
            else:
                self._note_success()
                return result
            await anyio.sleep(delay)
            delay = min(2 * delay, _LONGEST_RETRY)

    async def aclose(self) -> None:
        """Leave the fleet and close the connections. A later use connects again."""
        await finish(self._close)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _connected(self) -> coredis.Redis[str]:
        """Return the client of this event loop; connect first if necessary."""
        loop = anyio.lowlevel.current_token()
        if self._process != os.getpid() or (self._loop != loop and (self._loop is None or has_ended(self._loop))):
            self._process, self._loop, self._redis, self._opening = os.getpid(), loop, None, anyio.Lock()
        if self._redis is None:
            async with self._opening:
                if self._redis is None:
                    await self._open()
        assert self._redis is not None  # noqa: S101 - for the type checkers
        return self._redis

    async def _open(self) -> None:
        fingerprint = self._fingerprint = self._fingerprint or await self._worker.run(self._account)
        self._worker.stop()
        self.member = uuid4().hex[:12]
        ready, self._stop, self._ended = anyio.Event(), anyio.Event(), anyio.Event()
        problems: list[str] = []
        start_in(anyio.lowlevel.current_token(), lambda: self._serve(fingerprint, ready, problems))
        with anyio.CancelScope(shield=True):
            await ready.wait()
        if problems:
            raise JournalError(f"{self.where} can't be used: {problems[0]}; nothing was changed")

    async def _serve(self, fingerprint: str, ready: anyio.Event, problems: list[str]) -> None:
        """Keep a client open. It is a task group, so that one task has to open and close it."""
        stop, ended = self._stop, self._ended
        try:
            async with coredis.Redis.from_url(
                self._url,
                decode_responses=True,
                connect_timeout=_REPLY_TIMEOUT,
                stream_timeout=_REPLY_TIMEOUT,
                retry_policy=coredis.retry.NoRetryPolicy(),
            ) as redis:
                try:
                    await self._join(redis, fingerprint)
                except JournalError as error:
                    problems.append(error.message)
                    return
                self._redis = redis
                ready.set()
                while not stop.is_set():
                    with anyio.move_on_after(self.lease / 3):
                        await stop.wait()
                    if not stop.is_set():
                        with suppress(JournalError):
                            await self.run("beat", self.member, self.lease, within=self.lease / 3)
        except Exception as error:  # noqa: BLE001 - this is the only place that sees them
            if ready.is_set():
                _log.exception("the connection to %s ended unexpectedly", self.where)
            else:
                while isinstance(error, ExceptionGroup):
                    error = error.exceptions[0]
                problems.append(_reason(error) or describe(error))
        finally:
            self._redis = None
            ready.set()
            ended.set()

    async def _join(self, redis: coredis.Redis[str], fingerprint: str) -> None:
        """Check that this Redis can hold the fleet, and join it. Changes nothing if it can't."""
        info = await redis.info("server", "memory", "persistence")
        version = str(info.get("redis_version", "0"))
        if int(version.partition(".")[0]) < _OLDEST_REDIS:
            raise JournalError(f"it is Redis {version}, and must be {_OLDEST_REDIS} or newer")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise JournalError(
                f"it may drop data when its memory is full: set maxmemory-policy to noeviction, not {policy}"
            )
        form, owner = await redis.register_script(_source("join"))(
            [self.prefix], [str(_FORM), fingerprint, self.member, self.lease]
        )
        if int(form) > _FORM:
            raise JournalError(f"it was made by a newer version of smspva_async (form {form}, this one knows {_FORM})")
        if owner != fingerprint:
            raise JournalError(
                f"it belongs to another account ({owner[:8]}, yours is {fingerprint[:8]}); give each account a fleet of"
                f" its own name, or, for a new key of the same account, run: HDEL {self.key('meta')} account"
            )

    async def _close(self) -> None:
        if self._redis is not None and self._loop == anyio.lowlevel.current_token():
            with suppress(JournalError):
                await self.run("leave", self.member, within=0)
            self._stop.set()
            await self._ended.wait()
        self._redis = None

    def _note_failure(self, reason: str) -> None:
        if self.failure is None:
            _log.warning("%s can't be reached; calls wait until it is back: %s", self.where, reason)
        self.failure = reason

    def _note_success(self) -> None:
        if self.failure is not None:
            self.failure = None
            _log.info("%s is back", self.where)


def _reason(error: BaseException) -> str | None:
    """Return the reason why Redis can't be used now; None if waiting doesn't help."""
    if isinstance(error, _UNREACHABLE):
        return describe(error.__cause__ or error)
    text = str(error)
    return describe(error) if isinstance(error, exceptions.RedisError) and text.startswith(_TEMPORARY) else None


def address(url: str) -> str:
    """Return the address of Redis without user and password, for messages; raise `ValueError` if it isn't one."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("redis", "rediss", "unix") and bool(
            parts.path if parts.scheme == "unix" else parts.hostname
        )
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        is_valid = False
    if not is_valid:
        # The text may contain a password.
        raise ValueError("the URL of Redis must look like redis://host:6379/0, rediss://… or unix:///path/to/socket")
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{port or 6379}"


@cache
def _source(script: str) -> str:
    return resources.files("smspva_async.fleet").joinpath("scripts", f"{script}.lua").read_text("utf-8")

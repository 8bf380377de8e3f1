"""The connection to Redis: joins the fleet, runs scripts, waits while Redis can't be reached, and sends heartbeats."""

from __future__ import annotations

import logging
import math
import os
import time
from contextlib import suppress
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import anyio
import anyio.lowlevel
import coredis
from attrs import define, field
from coredis import exceptions
from coredis.commands import Script

from smspva_async._concurrency import WorkerThread, finish, has_ended, start_in
from smspva_async.errors import JournalError, describe
from smspva_async.fleet._connection import REPLY_TIMEOUT, address, coredis_silenced, new_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.lowlevel import EventLoopToken

T = TypeVar("T")

_FORM = 1
"""The version of the keys' form."""
_OLDEST_REDIS = 7
_FIRST_RETRY, _LONGEST_RETRY = 0.05, 1.0
_warned: set[str] = set()
"""The fleets whose settings this process has warned of."""
_GONE = (exceptions.ConnectionError, TimeoutError, OSError)
_UNREACHABLE = (exceptions.ConnectionError, exceptions.ReadOnlyError, exceptions.ClusterDownError, OSError)
_TEMPORARY = ("OOM", "MISCONF", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "BUSY")
"""The first words of errors that a Redis gives which may work again later."""


class Unreachable(JournalError):
    """Redis couldn't be reached within the time that the caller gave."""


@define(eq=False)
class _Session:
    """A client of coredis in one event loop. It is a task group, so one task has to open and close it."""

    redis: coredis.Redis[str] | None = None
    problem: str = ""
    """The reason why it couldn't be opened."""
    ready: anyio.Event = field(factory=anyio.Event)
    """Set once it is open or can't be opened."""
    ended: anyio.Event = field(factory=anyio.Event)
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)

    async def end(self) -> None:
        """Close it, and wait until that is done."""
        self.scope.cancel()
        await self.ended.wait()


class Link:
    """A process's connection to the fleet's Redis. It connects at the first use, once in each event loop.

    Args:
        url: The address of Redis, possibly with a password; see `url_problem`.
        name: The fleet's name.
        lease: Seconds after which a silent member counts as dead.
        account: A slow function that returns the account's fingerprint.

    """

    def __init__(self, url: str, name: str, lease: float, account: Callable[[], str]) -> None:
        self.lease = lease
        self.failure: str | None = None
        """The reason why Redis can't be reached now."""
        self.back_at: float = -math.inf
        """The time of `time.monotonic` at which Redis was reached again after the last failure."""
        self.prefix: str = f"smspva:{{{name}}}:"
        """The beginning of every key. The braces keep all keys in one slot of a cluster."""
        self.where: str = f"the fleet {name!r} at {address(url)}"
        """The fleet's name in messages, without the password."""
        self.log: logging.LoggerAdapter[logging.Logger] = logging.LoggerAdapter(
            logging.getLogger("smspva_async.fleet"), {"fleet": name}
        )
        # A function, because a debugger or `vars` may show the attributes.
        self._client: Callable[[], coredis.Redis[str]] = lambda: new_client(url)
        self._account = account
        self._fingerprint = ""
        self._member = ""
        self._process = 0
        self._loop: EventLoopToken | None = None
        self._session: _Session | None = None
        self._opening = anyio.Lock()
        self._is_closed = False
        self._uses = 0
        self._failed_at = -math.inf
        """The time of `time.monotonic` at which the last failure began."""
        self._is_refusing = False
        """True if Redis refused to write since it was last reached."""
        self._beat_at = 0.0
        """The time of `time.monotonic` at which this process last showed that it is alive."""
        self._worker = WorkerThread("smspva fleet")

    @property
    def member(self) -> str:
        """The id of this process in the fleet; a new one after a fork and after `aclose`."""
        if self._process != os.getpid():
            self._forget_connection()
        self._member = self._member or uuid4().hex[:12]
        return self._member

    def key(self, name: str) -> str:
        """Return the whole name of a key."""
        return self.prefix + name

    async def run(self, script: str, *arguments: str | float, within: float = math.inf) -> Any:  # noqa: ANN401 - Lua's
        """Run a script; see `evaluate` and `do`.

        Args:
            script: The file's name without ``.lua``.
            arguments: Its arguments.
            within: Seconds for which to wait if Redis can't be reached.

        Raises:
            JournalError: Redis can't be used: at the first use, or for longer than `within`.

        """
        return await self.do(lambda redis: self.evaluate(redis, script, arguments), within=within)

    async def do(
        self,
        action: Callable[[coredis.Redis[str]], Awaitable[T]],
        *,
        within: float = math.inf,
        is_beat: bool = False,
    ) -> T:
        """Run commands, again and again while Redis can't be reached, so they must be safe to repeat; see `run`.

        After `aclose` it connects, and closes the connection afterwards.

        Args:
            action: Runs the commands.
            within: Seconds for which to wait if Redis can't be reached.
            is_beat: True if the commands write, and show that this process is alive; no heartbeat is needed then.

        """
        if self._process != os.getpid():
            self._forget_connection()
        self._uses += 1
        try:
            return await self._repeat(action, within, is_beat=is_beat)
        finally:
            self._uses -= 1
            if self._is_closed and not self._uses:  # a use that began before `aclose` may have connected again, too
                await finish(self._close)

    def open(self) -> None:
        """Stay connected from the next use on, also after `aclose`."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Leave the fleet and close the connections."""
        self._is_closed = True
        await finish(self._close)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _repeat(
        self, action: Callable[[coredis.Redis[str]], Awaitable[T]], within: float, *, is_beat: bool = False
    ) -> T:
        deadline = anyio.current_time() + within
        delay = _FIRST_RETRY
        while True:
            began = time.monotonic()
            try:
                with coredis_silenced():
                    redis = await self._connected()
                    result = await action(redis)
            except JournalError:
                raise
            except Exception as error:  # noqa: BLE001 - coredis and sockets raise many kinds
                reason = _reason(error)
                if reason is None:
                    raise JournalError(f"{self.where} failed: {describe(error)}") from None
                await anyio.lowlevel.checkpoint_if_cancelled()  # coredis may raise another error then
                self._note_failure(reason, began, is_refusal=not isinstance(error, _GONE))
                if anyio.current_time() + delay >= deadline:
                    raise Unreachable(f"{self.where} can't be reached for {within:g} s: {reason}") from None
            else:
                self._note_success(began, writes=is_beat)
                if is_beat:
                    self._beat_at = began
                return result
            await anyio.sleep(delay)
            delay = min(2 * delay, _LONGEST_RETRY)

    async def evaluate(self, redis: coredis.Redis[str], script: str, arguments: Sequence[str | float]) -> Any:  # noqa: ANN401 - Lua's
        """Run a script of the folder `scripts` for `do`, with the keys' prefix as its only key."""
        call: Any = script_of(script)
        return await call([self.prefix], list(arguments), client=redis)

    async def _connected(self) -> coredis.Redis[str]:
        """Return the client of this event loop; connect first if necessary."""
        loop = anyio.lowlevel.current_token()
        if self._loop != loop:
            is_unused = self._session is None and not self._opening.locked()
            if self._loop is not None and not is_unused and not has_ended(self._loop):
                raise JournalError(f"{self.where} is used by another event loop; close it there first")
            self._loop, self._session, self._opening = loop, None, anyio.Lock()
        while self._session is None or self._session.redis is None:
            async with self._opening:
                if self._session is None or self._session.redis is None:
                    self._session = await self._open(loop)
        return self._session.redis

    def _forget_connection(self) -> None:
        """Forget what belongs to the process from which this one was forked."""
        self._process, self._loop, self._session, self._opening = os.getpid(), None, None, anyio.Lock()
        self._member, self._uses = "", 0
        self.failure, self._is_refusing = None, False

    async def _open(self, loop: EventLoopToken) -> _Session:
        if not self._fingerprint:
            try:
                self._fingerprint = await self._worker.run(self._account)
            finally:
                self._worker.stop()
        session = _Session()
        start_in(loop, partial(self._serve, session))
        try:
            await session.ready.wait()
        except anyio.get_cancelled_exc_class():
            await finish(session.end)
            raise
        if session.problem:
            raise JournalError(f"{self.where} can't be used: {session.problem}; nothing was changed")
        return session

    async def _serve(self, session: _Session) -> None:
        """Keep a client open, and send heartbeats."""
        try:
            with coredis_silenced(), session.scope:
                async with self._client() as redis:
                    await self._join(redis)
                    session.redis = redis
                    session.ready.set()
                    while True:
                        wait = self._beat_at + self.lease / 2 - time.monotonic()
                        await (anyio.sleep(wait) if wait > 0 else self._beat())
        except Exception as raised:
            error = _first(raised)
            if session.redis is not None:
                self.log.exception("the connection to %s ended unexpectedly", self.where)
            elif isinstance(error, JournalError):
                session.problem = error.message
            elif isinstance(error, exceptions.AuthenticationRequiredError):
                session.problem = "it needs a password: redis://user:password@host"
            else:
                session.problem = _reason(error) or describe(error)
        finally:
            session.redis = None
            session.ready.set()
            session.ended.set()

    async def _beat(self) -> None:
        try:
            beat = partial(self.evaluate, script="beat", arguments=(self.member, self.lease))
            await self._repeat(beat, math.inf, is_beat=True)
        except JournalError:
            await anyio.sleep(_LONGEST_RETRY)

    async def _join(self, redis: coredis.Redis[str]) -> None:
        """Check that this Redis can hold the fleet, and join it. Changes nothing if it can't."""
        info = await redis.info("server", "memory", "persistence")
        version = str(info.get("redis_version", "0"))
        if int(version.partition(".")[0]) < _OLDEST_REDIS:
            raise JournalError(f"it is Redis {version}, and must be {_OLDEST_REDIS} or newer")
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            raise JournalError(
                f"it may drop data when its memory is full: set maxmemory-policy to noeviction, not {policy}"
            )
        mine = self._fingerprint
        self._beat_at = time.monotonic()
        form, owner = await self.evaluate(redis, "join", (_FORM, mine, self.member, self.lease))
        if int(form) > _FORM:
            raise JournalError(f"it was made by a newer version of smspva_async (form {form}, this one knows {_FORM})")
        if owner != mine:
            raise JournalError(
                f"it belongs to another account ({owner[:8]}, yours is {mine[:8]}); give each account a fleet of"
                f" its own name, or, for a new key of the same account, run: HDEL {self.key('meta')} account"
            )
        if self.where not in _warned:
            _warned.add(self.where)
            await self._warn_of_losses(redis, has_file=str(info.get("aof_enabled", 0)) == "1")

    async def _warn_of_losses(self, redis: coredis.Redis[str], *, has_file: bool) -> None:
        """Warn if a power cut or crash of Redis can take data."""
        if not has_file:
            self.log.warning(
                "%s keeps no append-only file: all is lost if Redis ends; set appendonly to yes", self.where
            )
            return
        with suppress(exceptions.RedisError):  # CONFIG may be forbidden
            policy = (await redis.config_get(["appendfsync"])).get("appendfsync", "always")
            if policy != "always":
                self.log.warning(
                    "%s may lose its last writes in a power cut; set appendfsync to always, not %s", self.where, policy
                )

    async def _close(self) -> None:
        if self._process != os.getpid() or self._loop is None:
            return
        if self._loop != anyio.lowlevel.current_token():
            if self._session is not None and not has_ended(self._loop):
                start_in(self._loop, self._session.end)
            self._session = None
            return
        async with self._opening:
            session, self._session = self._session, None
            member, self._member = self._member, ""
            self.failure, self._is_refusing = None, False
            if session is not None and session.redis is not None:
                with coredis_silenced(), suppress(Exception), anyio.move_on_after(REPLY_TIMEOUT / 5):
                    await self.evaluate(session.redis, "leave", [member])
                await session.end()

    # Answers may come late. Only what began after the last change says how Redis is now.

    def _note_failure(self, reason: str, began: float, *, is_refusal: bool) -> None:
        if self.failure is None:
            if began < self.back_at:
                return
            self._failed_at = time.monotonic()
            self.log.warning("%s can't be reached; calls wait until it is back: %s", self.where, reason)
        self._is_refusing = self._is_refusing or is_refusal
        self.failure = reason

    def _note_success(self, began: float, *, writes: bool) -> None:
        # A Redis whose memory is full, for instance, can still be read.
        if self.failure is not None and began >= self._failed_at and (writes or not self._is_refusing):
            self.failure, self.back_at, self._is_refusing = None, time.monotonic(), False
            self.log.info("%s is back", self.where)


def _first(error: BaseException) -> BaseException:
    """Return the first exception of a group, or the exception itself."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _reason(error: BaseException) -> str | None:
    """Return the reason why Redis can't be used now; None if waiting doesn't help."""
    if isinstance(error, _UNREACHABLE):
        return describe(error.__cause__ or error)
    # In a transaction the error has a prefix: "Command # 1 (HGETALL key) of pipeline caused error: OOM ...".
    text = str(error).rpartition(" of pipeline caused error: ")[2]
    return describe(error) if isinstance(error, exceptions.RedisError) and text.startswith(_TEMPORARY) else None


@cache
def script_of(name: str) -> Script[str]:
    """Return a script, after the functions of `prelude.lua`."""
    folder = resources.files("smspva_async.fleet") / "scripts"
    return Script(script="".join((folder / f"{file}.lua").read_text("utf-8") for file in ("prelude", name)))

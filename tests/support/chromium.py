"""A headless Chromium, controlled by the DevTools protocol. For asyncio, in real time."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from websockets.asyncio.client import ClientConnection, connect

from tests.support import PATIENCE
from tests.support.processes import Program, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PATH = next(filter(None, map(shutil.which, NAMES)), None)
"""The path of the installed browser, or None."""


class Tab:
    """A page in the browser.

    Attributes:
        errors: The errors in the console, including the browser's own.

    """

    def __init__(self, connection: ClientConnection) -> None:
        self.errors: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        """Handle the browser's messages until the connection is closed."""
        async for text in self._connection:
            message = json.loads(text)
            match message:
                case {"id": number, "result": result}:
                    self._answers.pop(number).set_result(result)
                case {"id": number, "error": error}:
                    self._answers.pop(number).set_exception(RuntimeError(error))
                case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": error_text}}}:
                    self.errors.append(error_text)
                case {"method": "Runtime.exceptionThrown"}:
                    self.errors.append(text if isinstance(text, str) else text.decode())
                case _:
                    pass
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the browser closed the connection"))

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params, **self._session}))
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def attach(self, time_zone: str) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        await self.call("Emulation.setTimezoneOverride", timezoneId=time_zone)
        await self.call("Emulation.setLocaleOverride", locale="en_GB")
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        with anyio.fail_after(PATIENCE):
            while not await self.evaluate(expression):  # noqa: ASYNC110 - the page has no event to wait for
                await anyio.sleep(0.02)

    async def rows(self, table: str) -> list[list[str]]:
        """Return the text in the cells of a table's body."""
        rows: list[list[str]] = await self.evaluate(
            f"[...document.querySelectorAll('#{table} tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
        )
        return rows

    async def text(self, element: str) -> str:
        """Return the text of an element."""
        text: str = await self.evaluate(f"document.getElementById('{element}').innerText")
        return text

    async def accessible_names(self, role: str) -> list[str]:
        """Return the names of the elements with a role, from the accessibility tree."""
        tree = await self.call("Accessibility.getFullAXTree")
        return [
            node["name"]["value"]
            for node in tree["nodes"]
            if not node["ignored"] and node.get("role", {}).get("value") == role
        ]


@asynccontextmanager
async def opened(time_zone: str = "UTC") -> AsyncGenerator[Tab]:
    """Start the browser and open a page in it."""
    assert PATH is not None
    options = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # the sandbox doesn't work for root
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Program(PATH, *options, f"--user-data-dir={folder}") as browser,
    ):
        async with connect(await _address(browser), max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(tab.listen())
                await tab.attach(time_zone)
                yield tab
                await connection.close()
                await listening


async def _address(browser: Program) -> str:
    """Return the address of the DevTools protocol, from the browser's output."""

    def printed() -> str | None:
        found = re.search(r"DevTools listening on (ws://\S+)\s", browser.stderr)
        return None if found is None else found[1]

    await until(lambda: printed() is not None, browser)
    return printed() or ""

"""A headless Chromium, the one that is installed, controlled by Playwright. For asyncio, in real time."""

from __future__ import annotations

import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from playwright.async_api import async_playwright

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Page

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PATH = next(filter(None, map(shutil.which, NAMES)), None)
"""The path of the installed browser, or None."""
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@asynccontextmanager
async def opened(
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    time_zone: str = "UTC",
    expected_errors: str = "no error",
) -> AsyncGenerator[Page]:
    """Start the browser, open an empty page in it, and fail at the end if the console has errors.

    Args:
        width: The width of the page in pixels.
        scheme: The user's color scheme.
        time_zone: The browser's time zone.
        expected_errors: A regular expression for errors that don't fail.

    """
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PATH, args=OPTIONS, timeout=PATIENCE * 1000)
        page = await browser.new_page(
            viewport={"width": width, "height": 844}, color_scheme=scheme, timezone_id=time_zone, locale="en-GB"
        )
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        await browser.close()
    assert [error for error in errors if not re.search(expected_errors, error)] == []

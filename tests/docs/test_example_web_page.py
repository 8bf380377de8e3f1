"""The web service's page in a headless Chromium, where one is installed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smspva_async.simulator import Simulator
from tests.support import chromium
from tests.support.backends import on_a_real_loop
from tests.support.web_service import served, watched

pytestmark = [
    pytest.mark.anyio,
    on_a_real_loop,
    pytest.mark.skipif(chromium.PATH is None, reason="no Chromium is installed"),
]

NEW_YEAR = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
MESSAGES = "document.querySelectorAll('#messages tr').length"


async def test_the_tables_show_the_data_and_update() -> None:
    simulator = Simulator()
    order = simulator.add_order("RU", "opt16", until=NEW_YEAR)
    other = simulator.add_order("LT", "opt20", until=NEW_YEAR)
    simulator.set_state(other.id, 7)
    async with served(watched(simulator)) as web, chromium.opened(time_zone="Europe/Vilnius") as tab:
        await tab.open(web.url)
        await tab.until("document.querySelectorAll('#orders tr').length === 2")
        assert await tab.rows("orders") == [
            ["inactive", order.phone, "Instagram", "01/01/2027, 01:30:00"],
            ["unknown (7)", other.phone, "WhatsApp", "01/01/2027, 01:30:00"],
        ]
        assert (await tab.accessible_names("columnheader"))[:4] == ["Status", "Phone number", "Service", "Expires at"]
        assert await tab.accessible_names("table") == ["Numbers", "Messages, newest first"]
        assert await tab.text("connection") == "Live: this page updates automatically."
        assert "Europe/Vilnius" in await tab.evaluate("document.body.innerText")

        simulator.set_state(order.id, 2)
        await tab.until("document.querySelector('#orders td').innerText === 'activating'")
        simulator.set_state(order.id, 1)
        await tab.until("document.querySelector('#orders td').innerText === 'active'")
        simulator.deliver(order.id, "Code Instagram: 671 094.", sender="Instagram")
        await tab.until(f"{MESSAGES} === 1")
        simulator.deliver(order.id, "No number in it", sender=None)
        await tab.until(f"{MESSAGES} === 2")
        newer, older = await tab.rows("messages")
        assert newer[1:] == [order.phone, "", "", "No number in it"]
        assert older[1:] == [order.phone, "Instagram", "671094", "Code Instagram: 671 094."]
        assert await tab.evaluate("[...document.querySelectorAll('mark')].map((mark) => mark.innerText)") == ["671094"]

        simulator.faults.always("orders", "refused")
        await tab.until("document.getElementById('failing').innerText.includes('no connection')")
        simulator.faults.clear()
        await tab.until("document.getElementById('failing').innerText === ''")
        assert len(await tab.rows("orders")) == 2
        assert tab.errors == []


async def test_a_number_with_several_services_and_an_unreadable_row() -> None:
    simulator = Simulator(dialect="contract")
    simulator.behavior.multi_orders = "row_per_service"
    order = simulator.add_order("RU", ["opt29", "opt16"], until=NEW_YEAR)
    async with served(watched(simulator)) as web, chromium.opened(time_zone="Europe/Vilnius") as tab:
        await tab.open(web.url)
        await tab.until("document.querySelectorAll('#orders tr').length === 1")
        assert await tab.rows("orders") == [["inactive", order.phone, "opt16, opt29", "01/01/2027, 01:30:00"]]
        simulator.behavior.multi_orders = "one_row"
        simulator.faults.always("orders", "bad_row")
        await tab.until("document.querySelector('#orders td').innerText === 'unknown'")
        assert await tab.rows("orders") == [["unknown", "", "", "unknown"]]
        assert tab.errors == []


async def test_a_message_is_shown_as_text() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    text = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>&amp;<b>4711</b>"
    async with served(watched(simulator)) as web, chromium.opened() as tab:
        await tab.open(web.url)
        await tab.until("document.querySelectorAll('#orders tr').length === 1")
        simulator.deliver(order.id, text, sender="<i>sender</i>")
        await tab.until(f"{MESSAGES} === 1")
        await tab.open(web.url)  # again, from the snapshot
        await tab.until(f"{MESSAGES} === 1")
        ((*_, sender, _code, shown),) = await tab.rows("messages")
        assert (sender, shown) == ("<i>sender</i>", text)
        assert await tab.evaluate("document.querySelectorAll('#messages :is(img, script, b, i)').length") == 0
        assert await tab.evaluate("document.title") == "Rented numbers"
        # Even as markup, the policy would block it.
        await tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
        await tab.until("true")
        assert await tab.evaluate("document.title") == "Rented numbers"
        assert "Content Security Policy" in tab.errors[0]


async def test_a_browser_reconnects_and_misses_nothing() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with chromium.opened() as tab:
        async with served(watched(simulator)) as web:
            port = web.port
            await tab.open(web.url)
            await tab.until("document.querySelectorAll('#orders tr').length === 1")
            simulator.deliver(order.id, "before")
            await tab.until(f"{MESSAGES} === 1")
            # A snapshot would replace this row.
            await tab.evaluate("document.querySelector('#orders tr').dataset.marked = 'yes'")
            web.drop_connections()
            simulator.deliver(order.id, "during")
            await tab.until("document.getElementById('connection').innerText.startsWith('Disconnected')")
            await tab.until(f"{MESSAGES} > 1")
            simulator.deliver(order.id, "after")
            await tab.until(f"{MESSAGES} > 2")
            assert [row[-1] for row in await tab.rows("messages")] == ["after", "during", "before"]
            assert await tab.evaluate("document.querySelectorAll('[data-marked]').length") == 1
        await tab.until("document.getElementById('connection').innerText.startsWith('Disconnected')")
        later = Simulator()
        other = later.add_order("LT", "opt20")
        async with served(watched(later), port=port):  # its event numbers start again
            await tab.until("document.querySelectorAll('[data-marked]').length === 0")
            assert [row[1] for row in await tab.rows("orders")] == [other.phone]
            assert await tab.rows("messages") == []
            assert (await tab.text("connection")).startswith("Live")

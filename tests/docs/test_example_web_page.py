"""The web service's page in a headless Chromium, where one is installed."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.async_api import expect

from examples.web_service import service
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chromium
from tests.support.backends import on_a_real_loop
from tests.support.processes import until
from tests.support.web_service import served, watched

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page, Route

pytestmark = [
    pytest.mark.anyio,
    on_a_real_loop,
    pytest.mark.skipif(chromium.PATH is None, reason="no Chromium is installed"),
]

expect.set_options(timeout=PATIENCE * 1000)

NOON = datetime(2026, 12, 31, 12, 0, tzinfo=UTC)
NEW_YEAR = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
DISCONNECTED = "net::ERR_"
LONG = (
    "Your verification code is {code}. Don't share it with anyone, our employees never ask for it. If you did not "
    "request this code, open https://account.example.com/security/review?session=4f9c2a1e8b7d6c5a4f3e2d1c0b9a8f7e "
    "and change your password immediately. This message was sent automatically, replies are not read."
)


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


def rows(page: Page, table: Literal["orders", "messages", "past"]) -> Locator:
    return page.locator(f"#{table} tr")


async def texts(page: Page, table: Literal["orders", "messages", "past"]) -> list[list[str]]:
    """Return the texts in the cells of a table, as they are shown."""
    return [
        [await cell.inner_text() for cell in await row.get_by_role("cell").all()]
        for row in await rows(page, table).all()
    ]


async def stop_clock(page: Page, moment: datetime) -> None:
    """Stop the clock of a page that isn't loaded yet; it moves only with `page.clock.run_for`."""
    await page.clock.install(time=moment - timedelta(minutes=1))
    await page.clock.pause_at(moment)


# -- numbers and messages --------------------------------------------------------------------------------------------


async def test_the_lists_show_the_data_and_update() -> None:
    simulator = Simulator(start=NOON)
    order = simulator.add_order("RU", "opt16", until=NEW_YEAR)
    other = simulator.add_order("LT", "opt20", until=NEW_YEAR)
    simulator.set_state(other.id, 7)
    async with served(watched(simulator)) as web, chromium.opened(time_zone="Europe/Vilnius") as page:
        await stop_clock(page, NOON + timedelta(minutes=2, seconds=30))
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(2)
        assert await texts(page, "orders") == [
            ["inactive", f"{order.phone}\nCopy", "Instagram", "", "in 11 hours"],
            ["state 7", f"{other.phone}\nCopy", "WhatsApp", "", "in 11 hours"],
        ]
        await expect(page.get_by_role("columnheader")).to_have_text(
            ["Status", "Phone number", "Service", "Newest code", "Expires"]
        )
        await expect(page.get_by_label("Status").locator("option")).to_have_text(
            ["All", "inactive", "active", "queued", "absent", "unknown"]
        )
        await expect(page.get_by_role("table", name="Numbers")).to_be_visible()
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.get_by_text("Europe/Vilnius")).to_be_visible()

        state = rows(page, "orders").first.locator(".state")
        simulator.set_state(order.id, 2)
        await expect(state).to_have_text("queued")
        simulator.set_state(order.id, 1)
        await expect(state).to_have_text("active")
        simulator.deliver(order.id, "Code Instagram: 671 094.", sender="Instagram", date=unix(NOON))
        await expect(rows(page, "orders").first.locator(".code")).to_have_text("671094")
        simulator.deliver(order.id, "No number in it", sender=None, date=unix(NOON) + 60)
        await expect(page.locator("#messages-count")).to_have_text("2")
        await page.get_by_role("link", name="Messages").click()
        assert await texts(page, "messages") == [
            ["1 minute ago", f"{order.phone} Instagram", "", "", "No number in it"],
            ["2 minutes ago", f"{order.phone} Instagram", "Instagram", "671094\nCopy", "Code Instagram: 671 094."],
        ]
        newer = rows(page, "messages").first.locator("time")
        await expect(newer).to_have_attribute("title", "31/12/2026, 14:01:00")
        await page.clock.run_for(60_000)
        await expect(newer).to_have_text("2 minutes ago")
        await page.get_by_role("button", name="Exact times").click()
        await expect(newer).to_have_text("31/12/2026, 14:01:00")


async def test_messages_are_in_the_order_of_their_times_and_numbers_show_the_newest_code() -> None:
    simulator = Simulator(start=NOON)
    one, two = simulator.add_order("RU", "opt16"), simulator.add_order("LT", "opt20")

    def deliver(order_id: int, minute: int) -> None:
        simulator.deliver(order_id, f"Your code is {1000 + minute}", date=unix(NOON) + 60 * minute)

    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(2)
        for count, (order, minute) in enumerate([(one, 1), (two, 5), (one, 7), (one, 6), (two, 4), (one, 2)], start=1):
            deliver(order.id, minute)
            await expect(page.locator("#messages-count")).to_have_text(str(count))
        for _ in range(2):  # as events, and then as a snapshot
            await expect(page.locator("#messages .code")).to_have_text(["1007", "1006", "1005", "1004", "1002", "1001"])
            await expect(page.locator("#orders .code")).to_have_text(["1007", "1005"])
            await page.reload()


async def test_a_page_keeps_the_messages_that_a_snapshot_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MESSAGES", 3)
    simulator = Simulator(start=NOON)
    one, two = simulator.add_order(), simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(f"{web.url}/#inbox")
        await expect(page.get_by_text("No messages yet.")).to_be_visible()
        shown = page.locator("#messages .text")
        simulator.deliver(one.id, "Your code is 1000", date=unix(NOON))
        await expect(shown).to_have_count(1)
        for number in range(1, 5):
            simulator.deliver(two.id, f"text {number}", date=unix(NOON) + number)
            await expect(shown.first).to_have_text(f"text {number}")
        for _ in range(2):  # as events, and then as a snapshot
            await expect(shown).to_have_text(["text 4", "text 3", "text 2", "Your code is 1000"])
            await page.reload()
        await expect(shown).to_have_count(4)
        simulator.deliver(two.id, "text 5", date=unix(NOON) + 5)
        await expect(shown).to_have_text(["text 5", "text 4", "text 3", "Your code is 1000"])
        simulator.remove_order(one.id)
        await expect(shown).to_have_text(["text 5", "text 4", "text 3"])


async def test_a_number_with_several_services_and_an_unreadable_row() -> None:
    simulator = Simulator(dialect="contract")
    simulator.behavior.multi_orders = "row_per_service"
    order = simulator.add_order("RU", ["opt29", "opt16"], until=NEW_YEAR)
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(1)
        await page.get_by_role("button", name="Exact times").click()
        assert await texts(page, "orders") == [
            ["inactive", f"{order.phone}\nCopy", "Instagram, Telegram", "", "31/12/2026, 23:30:00"]
        ]
        await expect(page.get_by_label("Service").locator("option")).to_have_text(["All", "Instagram", "Telegram"])
        simulator.behavior.multi_orders = "one_row"
        simulator.faults.always("orders", "bad_row")
        await expect(page.locator(".state")).to_have_text("state ?")
        assert await texts(page, "orders") == [["state ?", "", "", "", "unknown"]]


async def test_filters_by_service_and_status_apply_to_both_lists() -> None:
    simulator = Simulator()
    one, two = simulator.add_order("RU", "opt16"), simulator.add_order("LT", "opt20", state=1)
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(2)
        simulator.deliver(one.id, "first")
        simulator.deliver(two.id, "second")
        await expect(rows(page, "messages")).to_have_count(2)
        await page.get_by_label("Service").select_option("WhatsApp")
        await expect(rows(page, "orders").locator(".phone")).to_have_text([two.phone])
        await expect(rows(page, "messages").locator(".text")).to_have_text(["second"])
        await expect(page.get_by_role("link", name="Messages")).to_have_text("Messages 1")
        await page.get_by_label("Status").select_option("inactive")
        await expect(page.locator("#orders-note")).to_have_text("Nothing matches the filters.")
        await page.get_by_label("Service").select_option("All")
        await expect(rows(page, "orders").locator(".phone")).to_have_text([one.phone])
        await expect(rows(page, "messages").locator(".text")).to_have_text(["first"])
        simulator.set_state(one.id, 2)
        await expect(rows(page, "orders")).to_have_count(0)


async def test_a_code_is_copied_or_selected() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(1)
        simulator.deliver(order.id, "Your code is 123-456.")
        button = page.get_by_role("button", name="Copy code 123456")
        await button.click()
        await expect(button).to_have_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == "123456"
        await expect(page.locator("#announcement")).to_have_text("Copied: code 123456")
        await page.evaluate("delete Navigator.prototype.clipboard")  # as on an address without https
        await button.click()
        await expect(button).to_have_text("Selected")
        assert await page.evaluate("String(getSelection())") == "123456"


async def test_an_open_text_and_the_focus_stay_when_a_message_comes() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(f"{web.url}/#inbox")
        await expect(page.get_by_text("No messages yet.")).to_be_visible()
        simulator.deliver(order.id, LONG.format(code=123456) * 3)
        await page.get_by_role("button", name="Show all").click()
        simulator.deliver(order.id, "short")
        await expect(rows(page, "messages")).to_have_count(2)
        await expect(page.get_by_role("button", name="Show less")).to_be_focused()
        assert await page.get_by_role("button", name="Show all").count() == 0, "not for a short text"


# -- texts of strangers ----------------------------------------------------------------------------------------------


async def test_a_message_is_shown_as_text() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    text = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>&amp;<b>4711</b>"
    async with (
        served(watched(simulator)) as web,
        chromium.opened(expected_errors="Content Security Policy") as page,
    ):
        await page.goto(f"{web.url}/#inbox")
        await expect(page.get_by_text("No messages yet.")).to_be_visible()
        simulator.deliver(order.id, text, sender="<i>sender</i>")
        await expect(rows(page, "messages")).to_have_count(1)
        await page.reload()  # again, from the snapshot
        await expect(rows(page, "messages")).to_have_count(1)
        ((*_, sender, _code, shown),) = await texts(page, "messages")
        assert (sender, shown) == ("<i>sender</i>", text)
        assert await page.locator("#messages :is(img, script, b, i)").count() == 0
        # Even as markup, the policy would block it.
        async with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=document.title=1>')")
        await expect(page).to_have_title("Rented numbers")


async def test_directions_do_not_spread_and_controls_are_visible() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    family = "\U0001f469\u200d\U0001f467"  # emoji with a joiner
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(f"{web.url}/#inbox")
        await expect(page.get_by_text("No messages yet.")).to_be_visible()
        simulator.deliver(order.id, f"\u202ecode 671094\u2066\x07{family}\nnext", sender="\u202eKOOBECAF")
        await expect(rows(page, "messages")).to_have_count(1)
        ((*_, sender, code, shown),) = await texts(page, "messages")
        assert sender == "U+202EKOOBECAF"
        assert code == "671094\nCopy"
        assert shown == f"U+202Ecode 671094U+2066U+0007{family}\nnext"
        for part in (".phone", ".service", ".code", "td:nth-child(3) bdi", ".control"):
            await expect(page.locator(f"#messages {part}").first).to_have_css("unicode-bidi", "isolate")
        await expect(page.locator("#messages .text")).to_have_css("unicode-bidi", "plaintext")


async def test_controls_are_visible_in_options_labels_and_announcements() -> None:
    order = {"id": 1, "phone": "+7\u20669", "services": ["opt20"], "service_name": "\u202eppAstahW", "until": None}
    order |= {"state": 0, "raw_state": 0}
    sms = {"text": "", "code": "12\u202e34", "sender": None, "received": None}
    snapshot: dict[str, Any] = {
        "orders": [order],
        "messages": [],
        "names": {},
        "failing": None,
        "limit": 100,
        "heartbeat": 15,
    }
    message = {"type": "SmsReceived", "at": NOON.isoformat(), "order": order, "sms": sms}
    past = {"order_id": 2, "phone": "+8\u2066", "service": "opt1", "begin": None, "closed": None, "restorable": True}
    sent = [("snapshot", snapshot), ("message", message), ("ended", "bad\u202e")]
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in sent)
    async with served(watched(Simulator())) as web, chromium.opened() as page:
        await page.route("**/events", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
        await page.route("**/archive?*", lambda route: route.fulfill(json={"orders": [past], "next": None}))
        await page.goto(web.url)
        option = page.get_by_label("Service").locator("option").last
        await expect(option).to_have_text("U+202EppAstahW")
        await expect(option).to_have_attribute("dir", "auto")
        copies = rows(page, "orders").get_by_role("button")
        await expect(copies.first).to_have_accessible_name("Copy number +7U+20669")
        await expect(copies.last).to_have_accessible_name("Copy code 12U+202E34")
        await expect(page.locator("#announcement")).to_have_text("New code 12U+202E34 for +7U+20669")
        await expect(page.locator("#connection")).to_have_text("The watcher has stopped. badU+202E")
        await page.get_by_role("link", name="Archive").click()
        await expect(rows(page, "past").get_by_role("button")).to_have_accessible_name("Show price of +8U+2066")


# -- the layout ------------------------------------------------------------------------------------------------------

# The words of a list that aren't on one line. An address may be longer than a line.
BROKEN = """(list) => {
    const texts = document.createTreeWalker(list, NodeFilter.SHOW_TEXT), broken = [], range = document.createRange();
    while (texts.nextNode()) {
        for (const {0: word, index} of texts.currentNode.textContent.matchAll(/[^\\s]+/g)) {
            range.setStart(texts.currentNode, index);
            range.setEnd(texts.currentNode, index + word.length);
            const lines = new Set([...range.getClientRects()].map(({top}) => top));
            if (word.length < 30 && lines.size > 1) broken.push(word);
        }
    }
    return broken;
}"""
# The texts with too little contrast to the nearest opaque background.
LOW_CONTRASTS = """() => {
    const light = (color) => {
        const [r, g, b] = color.match(/[0-9.]+/g).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const ownText = (shown) => [...shown.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const contrasts = [...document.querySelectorAll("body *")]
        .filter((shown) => shown.checkVisibility() && ownText(shown))
        .map((shown) => {
            const chain = [];
            for (let each = shown; each; each = each.parentElement) chain.push(getComputedStyle(each));
            const back = light(chain.find(({backgroundColor}) => backgroundColor.startsWith("rgb(")).backgroundColor);
            const text = light(chain[0].color), opacity = Math.min(...chain.map(({opacity}) => opacity));
            return [opacity === 1 ? Math.max(text, back) / Math.min(text, back) : 0, shown.outerHTML.slice(0, 100)];
        });
    return contrasts.filter(([contrast]) => contrast < 4.5);
}"""
LINES = """() => [...document.querySelectorAll("#messages .text")].map((text) => {
    const height = parseFloat(getComputedStyle(text).lineHeight);
    return [text.clientHeight, text.scrollHeight].map((pixels) => Math.round(pixels / height));
})"""
FONT_SIZES = """(selector) => [...document.querySelectorAll(`body ${selector}`)]
    .filter((shown) => shown.checkVisibility() && shown.innerText)
    .map((shown) => parseFloat(getComputedStyle(shown).fontSize))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_forty_long_messages_fit(width: int, scheme: Literal["light", "dark"]) -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened(width=width, scheme=scheme) as page:
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(1)
        for number in range(40):
            simulator.deliver(order.id, LONG.format(code=100_000 + number) * 2, sender="VerificationService")
        await expect(page.locator("#messages-count")).to_have_text("40")
        for view in ("Numbers", "Messages"):
            await page.get_by_role("link", name=view).click()
            table = page.get_by_role("table")
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            codes = await page.evaluate(FONT_SIZES, ".code")
            assert min(codes) >= 28
            assert max(await page.evaluate(FONT_SIZES, ":not(.code)")) < min(codes), "the code is the largest thing"
            for button in (await table.get_by_role("button").all())[:4]:
                box = await button.bounding_box()
                assert box is not None
                assert min(box["width"], box["height"]) >= 44
            assert await table.evaluate(BROKEN) == []
            assert await page.evaluate(LOW_CONTRASTS) == []
        lines = await page.evaluate(LINES)
        assert {shown for shown, _ in lines} == {4}
        assert min(whole for _, whole in lines) > 4
        await page.get_by_role("button", name="Exact times").click()
        await page.get_by_role("button", name="Show all").first.click()
        assert await table.evaluate(BROKEN) == []
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") is (scheme == "light")
        card = await rows(page, "messages").first.evaluate("(row) => getComputedStyle(row).display")
        assert card == ("flex" if width == 390 else "table-row")
        simulator.faults.always("orders", "refused")
        await expect(page.locator("body")).to_have_class("stale")
        assert await page.evaluate(LOW_CONTRASTS) == []
        await page.get_by_role("link", name="Numbers").click()
        assert await page.evaluate(LOW_CONTRASTS) == []


async def test_a_link_to_the_open_view_does_not_hide_the_filters() -> None:
    simulator = Simulator()
    for _ in range(10):
        simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened(width=390) as page:
        await page.goto(f"{web.url}/#numbers")
        await expect(rows(page, "orders")).to_have_count(10)
        for _ in range(2):
            await page.get_by_role("link", name="Numbers").click()
            await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            assert await page.evaluate("scrollY") == 0


# -- the archive -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1280])
async def test_the_archive_shows_past_orders_and_asks_for_a_price(width: int) -> None:
    simulator = Simulator(dialect="contract", start=NOON)
    newer = simulator.add_order("RU", "opt59", until=NOON - timedelta(days=2))
    older = simulator.add_order("LT", "opt20", until=NOON - timedelta(days=200))
    rented = simulator.add_order("LT", "opt20")
    async with (
        served(watched(simulator)) as web,
        chromium.opened(width=width, expected_errors="status of 502") as page,
    ):
        await page.goto(web.url)
        await page.get_by_role("link", name="Archive").click()
        await expect(rows(page, "past")).to_have_count(2)
        assert await texts(page, "past") == [
            ["22/12/2026", "29/12/2026", "Avito", newer.phone, "Show price"],
            ["07/06/2026", "14/06/2026", "WhatsApp", older.phone, "can't be restored"],
        ]
        await expect(page.get_by_role("columnheader")).to_have_text(
            ["Begin", "Closed", "Service", "Phone number", "Restore price"]
        )
        await expect(page.get_by_label("Service")).to_be_hidden()
        simulator.faults.next("restore_quote", "html")
        price = rows(page, "past").first.get_by_role("cell").last
        await price.get_by_role("button").click()
        await expect(price).to_contain_text("restore_quote")
        await price.get_by_role("button").click()
        await expect(price).to_have_text(re.compile(r"^\$\d+\.\d\d3 days overdue \+ 30 days in advance"))
        await expect(price).to_contain_text(f"smspva restore {newer.id}")
        assert await page.evaluate("document.documentElement.scrollWidth") == width

        await page.get_by_role("link", name="Numbers").click()
        await page.get_by_role("link", name="Archive").click()
        await expect(price).to_contain_text(f"smspva restore {newer.id}")
        assert [request.method for request in simulator.requests].count("get_rent_history") == 1, (
            "it isn't loaded again"
        )
        simulator.remove_order(rented.id)
        await expect(page.locator("#orders-count")).to_have_text("0")
        await page.get_by_role("link", name="Numbers").click()
        await page.get_by_role("link", name="Archive").click()
        await expect(rows(page, "past").first.locator(".phone")).to_have_text(rented.phone)
    asked = {request.method for request in simulator.requests} - {"orders", "sms"}
    assert asked == {"get_rent_history", "get_default_services", "restore_user_precalc"}, "nothing that spends"


async def test_a_long_archive_is_loaded_in_parts_and_after_an_error_again() -> None:
    simulator = Simulator(start=NOON)  # a server that doesn't list the names of services
    for days in range(1, 61):
        simulator.add_order("RU", "opt16", until=NOON - timedelta(days=days))
    async with served(watched(simulator)) as web, chromium.opened(expected_errors="status of 502") as page:
        simulator.faults.next("history", "refused")
        await page.goto(f"{web.url}/#archive")
        await expect(page.get_by_text("no connection")).to_be_visible()
        await page.get_by_role("button", name="Try again").click()
        await expect(rows(page, "past")).to_have_count(50)
        await expect(rows(page, "past").first.locator(".service")).to_have_text("opt16")
        simulator.add_order("RU", "opt16", until=NOON - timedelta(hours=1))  # shifts the others
        await page.get_by_role("button", name="Load more").click()
        await expect(rows(page, "past")).to_have_count(60)
        await expect(page.get_by_role("button", name="Load more")).to_be_hidden()


PAST = {"order_id": 2, "phone": "+482", "service": "opt1", "begin": None, "closed": None, "restorable": False}


@pytest.mark.parametrize(
    "late", [{"json": {"orders": [PAST], "next": 50}}, {"json": {"error": "too late"}, "status": 502}]
)
async def test_a_late_answer_does_not_change_an_archive_that_was_loaded_again(late: dict[str, Any]) -> None:
    simulator = Simulator()
    order = simulator.add_order()
    asked: list[Route] = []

    async def hold(route: Route) -> None:
        asked.append(route)

    async with served(watched(simulator)) as web, chromium.opened(expected_errors="status of 502") as page:
        await page.route("**/archive?*", hold)
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(1)
        await page.get_by_role("link", name="Archive").click()
        await until(lambda: len(asked) == 1)
        await page.get_by_role("link", name="Numbers").click()
        simulator.remove_order(order.id)
        await expect(rows(page, "orders")).to_have_count(0)
        await page.get_by_role("link", name="Archive").click()
        await until(lambda: len(asked) == 2)
        await asked[1].fulfill(json={"orders": [{**PAST, "phone": "+481"}], "next": None})
        await expect(rows(page, "past").locator(".phone")).to_have_text(["+481"])
        async with page.expect_event("requestfinished"):
            await asked[0].fulfill(**late)
        await page.evaluate("new Promise((done) => setTimeout(done))")
        assert await rows(page, "past").locator(".phone").all_inner_texts() == ["+481"]
        assert await page.locator("#past-note").inner_text() == ""
        assert await page.locator("#past-more").is_hidden()


async def test_an_account_without_numbers_shows_that_it_is_empty() -> None:
    release = asyncio.Event()

    async def wait(route: Route) -> None:
        await release.wait()
        await route.continue_()

    async with served(watched(Simulator())) as web, chromium.opened() as page:
        await page.route("**/events", wait)
        await page.goto(web.url)
        await expect(page.locator("#connection")).to_have_text("Connecting …")
        await expect(page.get_by_text("Loading the numbers …")).to_be_visible()
        release.set()
        for view, note in (
            ("Numbers", "No rented numbers yet."),
            ("Messages", "No messages yet."),
            ("Archive", "No past orders."),
        ):
            await page.get_by_role("link", name=view).click()
            await expect(page.get_by_text(note)).to_be_visible()
            await expect(page.get_by_role("table")).to_have_count(0)


# -- the connection --------------------------------------------------------------------------------------------------


async def test_an_outage_of_the_provider_dims_the_data() -> None:
    simulator = Simulator(start=NEW_YEAR)
    simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened() as page:
        await page.goto(web.url)
        await expect(page.locator("#orders")).to_have_css("filter", "none")
        simulator.faults.always("orders", "refused")
        await expect(page.locator("#failing")).to_contain_text(re.compile(r"Polling has failed since 23:3\d:\d\d\. "))
        await expect(page.locator("#failing")).to_contain_text("no connection")
        await expect(page.locator("#connection")).to_be_hidden()
        await expect(page.locator("#orders")).to_have_css("filter", "grayscale(1)")
        await page.reload()  # the same from the snapshot
        await expect(page.locator("#failing")).to_contain_text("no connection")
        await expect(rows(page, "orders")).to_have_count(1)
        simulator.faults.clear()
        await expect(page.locator("#failing")).to_be_hidden()
        await expect(page.locator("#orders")).to_have_css("filter", "none")


@pytest.mark.parametrize("width", [390, 1280])
async def test_a_lost_connection_dims_the_data_under_a_badge(width: int) -> None:
    simulator = Simulator()
    for _ in range(10):
        simulator.add_order()
    async with chromium.opened(width=width, expected_errors=DISCONNECTED) as page:
        async with served(watched(simulator)) as web:
            await page.goto(web.url)
            await expect(rows(page, "orders")).to_have_count(10)
            await page.get_by_role("button", name="Exact times").scroll_into_view_if_needed()
        badge = page.locator("#connection")
        await expect(badge).to_have_text(
            re.compile(r"Disconnected. This is the data from \d\d:\d\d:\d\d. Reconnecting")
        )
        await expect(badge).to_be_in_viewport(ratio=1)
        box = await badge.bounding_box()
        assert box is not None
        assert box["width"] == width
        await expect(badge).to_have_css("background-color", "rgb(185, 28, 28)")
        await expect(page.locator("#orders")).to_have_css("filter", "grayscale(1)")
        await expect(page).to_have_title("⚠ Disconnected: rented numbers")


async def test_a_silent_connection_is_replaced() -> None:
    simulator = Simulator()
    simulator.add_order()
    connections: list[Route] = []

    async def count(route: Route) -> None:
        connections.append(route)
        if len(connections) == 1:
            await route.continue_()

    async with served(watched(simulator)) as web, chromium.opened(expected_errors=DISCONNECTED) as page:
        await page.route("**/events", count)
        await stop_clock(page, NOON)
        await page.goto(web.url)
        await expect(rows(page, "orders")).to_have_count(1)
        await page.clock.run_for(44_000)
        await expect(page.locator("#connection")).to_have_text("Live")
        await page.clock.run_for(45_000)  # even if a heartbeat came meanwhile
        await expect(page.locator("#connection")).to_contain_text("Disconnected")
        await expect(page.locator("#orders")).to_have_css("filter", "grayscale(1)")
        await until(lambda: len(connections) > 1)
        await connections[1].continue_()
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.locator("#orders")).to_have_css("filter", "none")


async def test_a_watch_that_stopped_is_shown_and_not_connected_again() -> None:
    simulator = Simulator()
    simulator.add_order()
    async with served(watched(simulator)) as web, chromium.opened() as page:
        ended = 'event: ended\ndata: "the key was refused"\n\n'
        await page.route("**/events", lambda route: route.fulfill(body=ended, content_type="text/event-stream"))
        await page.clock.install()
        await page.goto(web.url)
        await expect(page.locator("#connection")).to_have_text("The watcher has stopped. the key was refused")
        await page.unroute("**/events")
        await page.clock.run_for(60_000)
        await expect(page.locator("#connection")).to_contain_text("stopped")


async def test_a_browser_reconnects_and_misses_nothing() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with chromium.opened(expected_errors=DISCONNECTED) as page:
        async with served(watched(simulator)) as web:
            port = web.port
            await page.goto(f"{web.url}/#inbox")
            await expect(page.get_by_text("No messages yet.")).to_be_visible()
            simulator.deliver(order.id, "before")
            await expect(rows(page, "messages")).to_have_count(1)
            web.drop_connections()
            simulator.deliver(order.id, "during")
            await expect(page.locator("#connection")).to_contain_text("Disconnected")
            await expect(rows(page, "messages")).to_have_count(2)
            simulator.deliver(order.id, "after")
            await expect(page.locator("#messages .text")).to_have_text(["after", "during", "before"])
        await expect(page.locator("#connection")).to_contain_text("Disconnected")
        later = Simulator()
        other = later.add_order("LT", "opt20")
        async with served(watched(later), port=port):  # its event numbers start again
            await expect(rows(page, "orders").locator(".phone")).to_have_text([other.phone])
            await expect(rows(page, "messages")).to_have_count(0)
            await expect(page.locator("#connection")).to_have_text("Live")

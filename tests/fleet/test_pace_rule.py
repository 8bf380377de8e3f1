"""The rule of the shared pace is that of the local one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
from hypothesis import given, settings, strategies

from smspva_async._http.rate_limiter import Priority, next_priority, skipped
from smspva_async.fleet._link import Link

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer


async def grants(url: str, slots: list[set[Priority]]) -> list[Priority]:
    """Return the priorities that Redis chooses when some wait at each slot."""
    link = Link(url, "main", 10, lambda: "account")
    chosen: list[Priority] = []
    try:
        for number, waiting in enumerate(slots):
            waits = [0 if priority in waiting else -1 for priority in Priority]
            answer = await link.run("take", "member", f"member:{number}", 0, 1, *waits)
            chosen.append(Priority(answer[0]))
            await link.run("begun", "member", f"member:{number}", answer[0], answer[2], 0)
        await link.do(lambda redis: redis.flushall())
    finally:
        await link.aclose()
    return chosen


def test_redis_chooses_like_the_local_rule(redis_server: RedisServer) -> None:
    priorities = strategies.sets(strategies.sampled_from(Priority), min_size=1)

    @settings(max_examples=20)
    @given(strategies.lists(strategies.tuples(priorities, strategies.integers(1, 6)), max_size=15))
    def check(spans: list[tuple[set[Priority], int]]) -> None:
        slots = [waiting for waiting, length in spans for _ in range(length)]
        skips: dict[Priority, int] = {}
        expected: list[Priority] = []
        for waiting in slots:
            skips = {priority: skips.get(priority, 0) for priority in waiting}
            expected.append(next_priority(skips))
            skips = skipped(skips, expected[-1])
        assert anyio.run(partial(grants, redis_server.url, slots)) == expected

    check()

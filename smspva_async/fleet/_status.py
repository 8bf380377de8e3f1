"""A snapshot of a fleet for operators: its members, its leader and its pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from smspva_async.fleet._link import Link


@frozen
class FleetMember:
    """A process of a fleet."""

    id: str
    """An id that each process gets when it connects."""
    leads: bool
    """True if it polls for all."""
    behind: int | None
    """Changes of the journal that it had not applied at its last sign of life; None: it has no watcher."""


@frozen
class FleetStatus:
    """A fleet at one moment (`RedisFleet.status`)."""

    members: tuple[FleetMember, ...]
    """The processes that are alive, without the one that asks."""
    leader: str | None
    """The id of the process that leads."""
    lease_left: float
    """Seconds until its lease ends unless it renews it, which it does three times per lease."""
    gap: float | None
    """Seconds from one request to the next; None: no process has sent one for ten minutes."""
    events: int
    """The number of the newest event."""


async def read_status(link: Link) -> FleetStatus:
    """Return the status of a link's fleet."""
    alive, leader, left, events, gap = await link.run("status", link.member)
    members = tuple(
        FleetMember(member, member == leader, int(behind) if int(behind) >= 0 else None)
        for member, behind in zip(alive[::2], alive[1::2], strict=True)
    )
    return FleetStatus(members, leader or None, int(left) / 1000, float(gap) if gap else None, int(events))

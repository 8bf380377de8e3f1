"""Events of every kind, each with its documented form as a dict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderExpiring,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmsReceived,
    StateChanged,
)

AT = datetime(2026, 11, 23, 19, 48, 14, tzinfo=UTC)
ORDER = Order(
    id=40300,
    services=("opt16",),
    service_name="Instagram",
    state=OrderState.ACTIVATING,
    phone="+79046577127",
    country="RU",
    has_new_sms=True,
    until=AT + timedelta(days=7),
    can_prolong=True,
    can_prolong_days=162,
    can_prolong_until=AT + timedelta(days=162),
    extra={"provider": "B"},
)
SMS = Sms("Code: 671 094", "FACEBOOK", AT - timedelta(microseconds=1), extra={"cost": 0.5})
ORDER_DICT = {
    "id": 40300,
    "services": ["opt16"],
    "service_name": "Instagram",
    "state": 2,
    "phone": "+79046577127",
    "country": "RU",
    "has_new_sms": True,
    "until": "2026-11-30T19:48:14+00:00",
    "can_prolong": True,
    "can_prolong_days": 162,
    "can_prolong_until": "2027-05-04T19:48:14+00:00",
    "last_online": None,
    "raw_state": 2,
    "extra": {"provider": "B"},
}
BASE = {"seq": 7, "id": "5f0c", "at": "2026-11-23T19:48:14+00:00", "order_id": 40300}
FORMS: list[tuple[Event, dict[str, Any]]] = [
    (
        OrderAdded(ORDER, seq=7, id="5f0c", at=AT, order_id=40300),
        {"type": "OrderAdded", **BASE, "order": ORDER_DICT},
    ),
    (
        OrderUpdated(ORDER, evolve(ORDER, country="UK"), seq=7, id="5f0c", at=AT, order_id=40300),
        {"type": "OrderUpdated", **BASE, "order": ORDER_DICT, "previous": {**ORDER_DICT, "country": "UK"}},
    ),
    (
        OrderRemoved(ORDER, expired=True, seq=7, id="5f0c", at=AT, order_id=40300),
        {"type": "OrderRemoved", **BASE, "order": ORDER_DICT, "expired": True},
    ),
    (
        OrderExpiring(ORDER, timedelta(hours=23, microseconds=1), seq=7, id="5f0c", at=AT, order_id=40300),
        {"type": "OrderExpiring", **BASE, "order": ORDER_DICT, "left": 82800.000001},
    ),
    (
        StateChanged(ORDER, OrderState.ABSENT, OrderState.ACTIVATING, seq=7, id="5f0c", at=AT, order_id=40300),
        {"type": "StateChanged", **BASE, "order": ORDER_DICT, "previous": -1, "current": 2},
    ),
    (
        SmsReceived(ORDER, SMS, seq=7, id="5f0c", at=AT, order_id=40300),
        {
            "type": "SmsReceived",
            **BASE,
            "order": ORDER_DICT,
            "sms": {
                "text": "Code: 671 094",
                "sender": "FACEBOOK",
                "received": "2026-11-23T19:48:13.999999+00:00",
                "other": False,
                "extra": {"cost": 0.5},
            },
        },
    ),
    (
        PollFailed("RequestTimeout", "orders: no answer", seq=7, id="5f0c", at=AT),
        {"type": "PollFailed", **BASE, "order_id": None, "kind": "RequestTimeout", "message": "orders: no answer"},
    ),
    (
        PollRecovered(61.5, seq=7, id="5f0c", at=AT),
        {"type": "PollRecovered", **BASE, "order_id": None, "downtime": 61.5},
    ),
    (
        RowSkipped("it has no id", {"pnumber": [1, None]}, seq=7, id="5f0c", at=AT),
        {"type": "RowSkipped", **BASE, "order_id": None, "reason": "it has no id", "raw": {"pnumber": [1, None]}},
    ),
]

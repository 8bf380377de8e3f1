"""An asyncio client and watcher for SMSPVA's number rental API; both run under trio as well.

`SmspvaClient` has a method per call of the API. `Watcher` polls with it and reports what changes as events.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from smspva_async._codes import extract_code
    from smspva_async._http.rate_limiter import Pace
    from smspva_async._http.retry import Retry
    from smspva_async._watch.activation import ActiveNumber
    from smspva_async._watch.consumers import Consumer
    from smspva_async._watch.source import Source
    from smspva_async._watch.subscription import Subscription
    from smspva_async.client import SmspvaClient
    from smspva_async.errors import (
        ApiError,
        ClientClosed,
        ClientInUse,
        ConnectionFailed,
        CursorTaken,
        InsufficientFunds,
        InvalidKey,
        JournalError,
        JournalLocked,
        Lagged,
        NoNumbers,
        OrderGone,
        OrderNotFound,
        OutcomeUnknown,
        PriceTooHigh,
        RateLimited,
        RequestTimeout,
        RestoreRefused,
        SmspvaError,
        UnexpectedResponse,
        WaitTimeout,
        WatcherClosed,
    )
    from smspva_async.events import (
        Event,
        OrderAdded,
        OrderExpiring,
        OrderRemoved,
        OrderUpdated,
        PollFailed,
        PollRecovered,
        RowSkipped,
        SmsReceived,
        StateChanged,
        event_from_dict,
        event_to_dict,
        to_dict,
    )
    from smspva_async.journal import Journal, MemoryJournal, SqliteJournal, WatchState
    from smspva_async.models import (
        WEEK,
        Country,
        CountryOffer,
        Offer,
        Order,
        OrderState,
        PastOrder,
        Period,
        Purchase,
        Reconciliation,
        Rental,
        RestoreQuote,
        Rows,
        Service,
        SkippedRow,
        Sms,
        Stock,
    )
    from smspva_async.statistics import ClientStatistics, WatchStatistics
    from smspva_async.watcher import Watcher

__all__ = [
    "WEEK",
    "ActiveNumber",
    "ApiError",
    "ClientClosed",
    "ClientInUse",
    "ClientStatistics",
    "ConnectionFailed",
    "Consumer",
    "Country",
    "CountryOffer",
    "CursorTaken",
    "Event",
    "InsufficientFunds",
    "InvalidKey",
    "Journal",
    "JournalError",
    "JournalLocked",
    "Lagged",
    "MemoryJournal",
    "NoNumbers",
    "Offer",
    "Order",
    "OrderAdded",
    "OrderExpiring",
    "OrderGone",
    "OrderNotFound",
    "OrderRemoved",
    "OrderState",
    "OrderUpdated",
    "OutcomeUnknown",
    "Pace",
    "PastOrder",
    "Period",
    "PollFailed",
    "PollRecovered",
    "PriceTooHigh",
    "Purchase",
    "RateLimited",
    "Reconciliation",
    "Rental",
    "RequestTimeout",
    "RestoreQuote",
    "RestoreRefused",
    "Retry",
    "RowSkipped",
    "Rows",
    "Service",
    "SkippedRow",
    "Sms",
    "SmsReceived",
    "SmspvaClient",
    "SmspvaError",
    "Source",
    "SqliteJournal",
    "StateChanged",
    "Stock",
    "Subscription",
    "UnexpectedResponse",
    "WaitTimeout",
    "WatchState",
    "WatchStatistics",
    "Watcher",
    "WatcherClosed",
    "event_from_dict",
    "event_to_dict",
    "extract_code",
    "to_dict",
]

_HOMES = [
    "_codes",
    "_http.rate_limiter",
    "_http.retry",
    "_watch.activation",
    "_watch.consumers",
    "_watch.source",
    "_watch.subscription",
    "client",
    "errors",
    "events",
    "journal",
    "models",
    "statistics",
    "watcher",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of ours
    # pytest imports `pytest_plugin`, and so this package, in every run of whoever has it installed; only those who ask
    # for a name shall wait. The first one brings them all, so that nothing is put off further and no error comes later.

    def __getattr__(name: str) -> object:
        if name not in __all__ and name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for home in _HOMES:
            found = vars(import_module(f"{__name__}.{home}"))
            globals().update({public: found[public] for public in __all__ if public in found})
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

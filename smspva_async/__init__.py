"""An asyncio client and watcher for SMSPVA's number rental API; both run under trio as well.

`SmspvaClient` has a method per call of the API. `Watcher` polls with it and reports what changes as events.
"""

from smspva_async._codes import extract_code
from smspva_async._feed import Subscription
from smspva_async._policy import Pace, Retry
from smspva_async._source import Source
from smspva_async.client import SmspvaClient
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ConnectionFailed,
    InsufficientFunds,
    InvalidKey,
    JournalError,
    JournalLocked,
    Lagged,
    NoNumbers,
    OrderGone,
    OrderNotFound,
    OutcomeUnknown,
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
    OrderRemoved,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    SmsReceived,
    StateChanged,
)
from smspva_async.journal import Journal, MemoryJournal
from smspva_async.models import (
    Country,
    Offer,
    Order,
    OrderState,
    PastOrder,
    Period,
    Rental,
    RestoreQuote,
    Rows,
    SkippedRow,
    Sms,
)
from smspva_async.watcher import Watcher

__all__ = [
    "ApiError",
    "ClientClosed",
    "ConnectionFailed",
    "Country",
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
    "RateLimited",
    "Rental",
    "RequestTimeout",
    "RestoreQuote",
    "RestoreRefused",
    "Retry",
    "RowSkipped",
    "Rows",
    "SkippedRow",
    "Sms",
    "SmsReceived",
    "SmspvaClient",
    "SmspvaError",
    "Source",
    "StateChanged",
    "Subscription",
    "UnexpectedResponse",
    "WaitTimeout",
    "Watcher",
    "WatcherClosed",
    "extract_code",
]

"""Switches for the unknowns of the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from attrs import define, field, validators

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["MultiOrders", "RateLimitAnswer", "RefusalForm", "SmsOrder", "Switches", "UntilText"]

SmsOrder = Literal["oldest", "newest", "shuffled"]
"""The order of messages in `sms`, see `Switches.sms_order`."""
RateLimitAnswer = Literal["json", "text", "http_429"]
"""A form of the refusal of too many requests, see `Switches.rate_limit_answer`."""

MultiOrders = Literal["own_ids", "joined", "row_per_service", "one_row"]
"""The rows of `orders` for one number with several services, see `Switches.multi_orders`."""
UntilText = Literal["unix", "datetime", "iso"]
"""A date written as text, see `Switches.until_text`."""
RefusalForm = Literal["msg", "error_msg", "message", "error", "error_object"]
"""A place of the text of a refusal, see `Switches.refusal_form`."""

_flag = validators.in_((True, False))
_share = validators.and_(validators.ge(0.0), validators.le(1.0))
_not_negative = validators.ge(0.0)


def _range(_instance: object, attribute: Attribute[tuple[float, float]], value: tuple[float, float]) -> None:
    low, high = value
    if not 0 <= low <= high:
        raise ValueError(f"{attribute.name} must be (lowest, highest) seconds, not {value!r}")


@define(kw_only=True)
class Switches:
    """Settings of the simulated server. All may be changed while it runs; a wrong value is a `ValueError`."""

    read_clears_flag: bool = field(default=True, validator=_flag)
    """True: reading `sms` clears `hasnewsms`."""

    flag_rises: bool = field(default=True, validator=_flag)
    """False: `hasnewsms` is never true."""

    flag_lifetime: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Seconds after which something else, such as the website, clears `hasnewsms`; None: nothing does."""

    sms_order: SmsOrder = field(default="oldest", validator=validators.in_(get_args(SmsOrder)))
    """The order of the list of `sms`: oldest first, newest first, or shuffled anew in each answer."""

    sms_keep: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    """The number of newest messages that `sms` lists; None: all."""

    flapping: float = field(default=0.0, validator=_share)
    """Share of `orders` answers that an order is missing from; it is back in the next one for certain."""

    listing_delay: float = field(default=0.0, validator=_not_negative)
    """Seconds until a purchase shows up in `orders`."""

    rate_limit: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Smallest gap in seconds between two requests; a request that comes sooner is refused. None: no limit."""

    rate_limit_answer: RateLimitAnswer = field(default="json", validator=validators.in_(get_args(RateLimitAnswer)))
    """The form of that refusal: a JSON `msg`, the bare text, or HTTP 429 with `Retry-After`."""

    banned: bool = field(default=False, validator=_flag)
    """True: the account is banned."""

    prolong_status_zero: bool = field(default=False, validator=_flag)
    """True: `prolong` answers `status` 0 with its usual data although it was done (a documented sample)."""

    page_calls_only: bool = field(default=False, validator=_flag)
    """True: calls that the rental page lacks, except `create_multi`, are refused with `Incorrect method`. The dialect
    `page` starts with True, the others with False."""

    multi_orders: MultiOrders = field(default="own_ids", validator=validators.in_(get_args(MultiOrders)))
    """The rows of `orders` after `create_multi`. `own_ids`: an order per service on the same number, as after
    `add_service_to_order`; it applies to later purchases. The others list one order: in one row with the codes joined
    (`opt16,opt29`), in a row per service with the same id, or in one row with the first service only."""

    until_text: UntilText = field(default="unix", validator=validators.in_(get_args(UntilText)))
    """The text of `until` in the contract's `create` and `create_multi`: unix seconds,
    `YYYY-MM-DD HH:MM:SS` (UTC), or ISO 8601."""

    getcount_is_total: bool = field(default=False, validator=_flag)
    """True: `getcount` answers one number instead of a mapping."""

    refusal_form: RefusalForm | None = field(
        default=None, validator=validators.optional(validators.in_(get_args(RefusalForm)))
    )
    """The place of the text in a refusal of the rental API: a key, or an object under `error` with `type` and
    `description`. None: the place that the dialect uses."""

    balance_is_number: bool = field(default=False, validator=_flag)
    """True: `balance` is a JSON number of USD (seen on the live server); False: a text with two decimals (contract)."""

    account_errors_as_200: bool = field(default=True, validator=_flag)
    """True: refusals of `balance` come under HTTP 200, and only `statusCode` has their code (seen on the live server).
    False: the HTTP status is the same code."""

    activation: tuple[float, float] = field(default=(600.0, 900.0), validator=_range)
    """Shortest and longest wait for an activation, in seconds (rental page: 10 to 15 minutes on average)."""

    slow_activation: float = field(default=0.0, validator=_share)
    """Share of activations that take two to six times as long (rental page: it can take longer)."""

    active: tuple[float, float] = field(default=(600.0, 1800.0), validator=_range)
    """Shortest and longest time that a number stays active, in seconds (rental page: 10 to 30 minutes)."""

"""Settings for the unknown behavior of the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from attrs import define, field, validators

if TYPE_CHECKING:
    from attrs import Attribute

SmsOrder = Literal["oldest", "newest", "shuffled"]
"""The order of the messages in `sms`, see `Behavior.sms_order`."""
RateLimitAnswer = Literal["json", "text", "http_429"]
"""The response to too many requests, see `Behavior.rate_limit_answer`."""

MultiOrders = Literal["own_ids", "joined", "row_per_service", "one_row"]
"""The rows of `orders` for a number with several services, see `Behavior.multi_orders`."""
UntilText = Literal["unix", "datetime", "iso"]
"""The text format of a date, see `Behavior.until_text`."""
RefusalForm = Literal["msg", "error_msg", "message", "error", "error_object"]
"""The place of the message in a refusal, see `Behavior.refusal_form`."""

_flag = validators.in_((True, False))
_probability = validators.and_(validators.ge(0.0), validators.le(1.0))
_not_negative = validators.ge(0.0)


def _range(_instance: object, attribute: Attribute[tuple[float, float]], value: tuple[float, float]) -> None:
    low, high = value
    if not 0 <= low <= high:
        raise ValueError(f"{attribute.name}: expected seconds as (lowest, highest), got {value!r}")


@define(kw_only=True)
class Behavior:
    """The behavior of the simulated server. Settings can change at any time; an invalid value raises `ValueError`."""

    read_clears_flag: bool = field(default=True, validator=_flag)
    """True: reading `sms` clears `hasnewsms`."""

    flag_rises: bool = field(default=True, validator=_flag)
    """False: `hasnewsms` is never true."""

    flag_lifetime: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Seconds until something else, such as the website, clears `hasnewsms`; None: never."""

    sms_order: SmsOrder = field(default="oldest", validator=validators.in_(get_args(SmsOrder)))
    """The order of the messages in `sms`: oldest first, newest first, or random in each answer."""

    sms_keep: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    """The number of messages that `sms` lists, the newest ones; None: all."""

    flapping: float = field(default=0.0, validator=_probability)
    """The probability that an order is missing from an answer of `orders`. The next answer always lists it again."""

    listing_delay: float = field(default=0.0, validator=_not_negative)
    """Seconds until `orders` lists a purchase."""

    rate_limit: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Minimum seconds between two requests; an earlier request is refused. None: no limit."""

    rate_limit_answer: RateLimitAnswer = field(default="json", validator=validators.in_(get_args(RateLimitAnswer)))
    """The response to too many requests: a JSON `msg`, plain text, or HTTP 429 with `Retry-After`."""

    banned: bool = field(default=False, validator=_flag)
    """True: the account is banned."""

    prolong_status_zero: bool = field(default=False, validator=_flag)
    """True: a successful `prolong` answers `status` 0 with its usual data (as in a documented sample)."""

    page_calls_only: bool = field(default=False, validator=_flag)
    """True: calls that the rental page does not list, except `create_multi`, are refused with `Incorrect method`. The
    dialect `page` starts with True, the others with False."""

    multi_orders: MultiOrders = field(default="own_ids", validator=validators.in_(get_args(MultiOrders)))
    """The rows of `orders` after `create_multi`. `own_ids`: an order per service on the same number, as after
    `add_service_to_order`; this applies to later purchases only. The others list one order: `joined` in one row with
    the codes joined (`opt16,opt29`), `row_per_service` in a row per service with the same id, `one_row` in one row with
    the first service only."""

    until_text: UntilText = field(default="unix", validator=validators.in_(get_args(UntilText)))
    """The format of `until` in the contract's `create` and `create_multi`: unix seconds,
    `YYYY-MM-DD HH:MM:SS` (UTC), or ISO 8601."""

    getcount_is_total: bool = field(default=False, validator=_flag)
    """True: `getcount` returns one number instead of a mapping."""

    refusal_form: RefusalForm | None = field(
        default=None, validator=validators.optional(validators.in_(get_args(RefusalForm)))
    )
    """The place of the message in a refusal of the rental API: a key, or an object under `error` with `type` and
    `description`. None: the place that the dialect uses."""

    balance_is_number: bool = field(default=False, validator=_flag)
    """True: `balance` is a number of USD (seen on the live server); False: a string with two decimals (contract)."""

    account_errors_as_200: bool = field(default=True, validator=_flag)
    """True: refusals of `balance` have HTTP status 200, with their code in `statusCode` only (seen on the live server).
    False: the HTTP status is that code too."""

    activation: tuple[float, float] = field(default=(600.0, 900.0), validator=_range)
    """Shortest and longest wait for an activation, in seconds (rental page: 10 to 15 minutes on average)."""

    slow_activation: float = field(default=0.0, validator=_probability)
    """The probability that an activation takes two to six times as long (rental page: it can take longer)."""

    active: tuple[float, float] = field(default=(600.0, 1800.0), validator=_range)
    """Shortest and longest time that a number stays active, in seconds (rental page: 10 to 30 minutes)."""

"""What isn't known of the real server, as switches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from attrs import define, field, validators

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["MultiOrders", "RateLimitAnswer", "RefusalForm", "SmsOrder", "Switches", "UntilText"]

SmsOrder = Literal["oldest", "newest", "shuffled"]
"""How `sms` lists messages, see `Switches.sms_order`."""
RateLimitAnswer = Literal["json", "text", "http_429"]
"""How too many requests are refused, see `Switches.rate_limit_answer`."""

MultiOrders = Literal["own_ids", "joined", "row_per_service", "one_row"]
"""How `orders` lists a number that was rented for several services, see `Switches.multi_orders`."""
UntilText = Literal["unix", "datetime", "iso"]
"""How a date is written as text, see `Switches.until_text`."""
RefusalForm = Literal["msg", "error_msg", "message", "error", "error_object"]
"""Where a refusal holds its text, see `Switches.refusal_form`."""

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
    """Whether reading `sms` clears `hasnewsms`."""

    flag_rises: bool = field(default=True, validator=_flag)
    """Whether `hasnewsms` is ever true."""

    flag_lifetime: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Seconds after which something else, such as the website, clears `hasnewsms`; None: nothing does."""

    sms_order: SmsOrder = field(default="oldest", validator=validators.in_(get_args(SmsOrder)))
    """How the list of `sms` is ordered: oldest first, newest first, or shuffled anew in each answer."""

    sms_keep: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    """How many of the newest messages `sms` still lists; None: all."""

    flapping: float = field(default=0.0, validator=_share)
    """Share of `orders` answers that an order is missing from; it is back in the next one for certain."""

    listing_delay: float = field(default=0.0, validator=_not_negative)
    """Seconds until a purchase shows up in `orders`."""

    rate_limit: float | None = field(default=None, validator=validators.optional(_not_negative))
    """Smallest gap in seconds between two requests; a request that comes sooner is refused. None: no limit."""

    rate_limit_answer: RateLimitAnswer = field(default="json", validator=validators.in_(get_args(RateLimitAnswer)))
    """How it is refused: a JSON `msg`, the bare text, or HTTP 429 with `Retry-After`."""

    banned: bool = field(default=False, validator=_flag)
    """Whether the account is banned."""

    prolong_status_zero: bool = field(default=False, validator=_flag)
    """Whether `prolong` answers `status` 0 with its usual data although it was done (a documented sample)."""

    page_calls_only: bool = field(default=False, validator=_flag)
    """Whether calls that the rental page lacks, except `create_multi`, are refused with `Incorrect method`. It is True
    from the start in the dialect `page`."""

    multi_orders: MultiOrders = field(default="own_ids", validator=validators.in_(get_args(MultiOrders)))
    """How `orders` lists a purchase of `create_multi`. `own_ids`: an order per service on the same number, as after
    `add_service_to_order`; it applies to later purchases. The others list one order: in one row with the codes joined
    (`opt16,opt29`), in a row per service with the same id, or in one row with the first service only."""

    until_text: UntilText = field(default="unix", validator=validators.in_(get_args(UntilText)))
    """How the contract's `create` and `create_multi` write `until`, which is a text: unix seconds,
    `YYYY-MM-DD HH:MM:SS` (UTC), or ISO 8601."""

    getcount_is_total: bool = field(default=False, validator=_flag)
    """Whether `getcount` answers one number instead of a mapping."""

    refusal_form: RefusalForm | None = field(
        default=None, validator=validators.optional(validators.in_(get_args(RefusalForm)))
    )
    """Where a refusal of the rental API holds its text: under a key, or in an object under `error` with `type` and
    `description`. None: as the dialect has it."""

    balance_is_number: bool = field(default=False, validator=_flag)
    """Whether `balance` is a number instead of a text."""

    account_errors_as_200: bool = field(default=False, validator=_flag)
    """Whether refusals of `balance` and `userinfo` come under HTTP 200, with their own code in `statusCode` alone."""

    activation: tuple[float, float] = field(default=(600.0, 900.0), validator=_range)
    """Shortest and longest wait for an activation, in seconds (rental page: 10 to 15 minutes on average)."""

    slow_activation: float = field(default=0.0, validator=_share)
    """Share of activations that take two to six times as long (rental page: it can take longer)."""

    active: tuple[float, float] = field(default=(600.0, 1800.0), validator=_range)
    """Shortest and longest time that a number stays active, in seconds (rental page: 10 to 30 minutes)."""

"""The command line's entry point: its setup, exit codes and error messages."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import click

from smspva_async import (
    ConnectionFailed,
    JournalError,
    OrderGone,
    OutcomeUnknown,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
    WaitTimeout,
    __version__,
)
from smspva_async.cli import (
    _catalogue,
    _demo,
    _doctor,
    _fleet,
    _formatting as fmt,
    _orders,
    _purchases,
    _simulate,
    _spending,
    _watch,
)
from smspva_async.cli._output import print_stderr
from smspva_async.cli._parameters import examples
from smspva_async.cli._vocabulary import STATE_WORDS, command_name, describe_error

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


def main() -> NoReturn:
    """Run the command line and exit."""
    _replace_closed_streams()
    _correct_terminal_variables()
    # Keep Python from printing the library's warnings: commands print them as events.
    logging.getLogger("smspva_async").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a message may contain characters that the output can't encode
            stream.reconfigure(errors="backslashreplace")
    with _sigterm_as_ctrl_c() as terminated:
        code = _run()
    sys.exit(128 + signal.SIGTERM if terminated and code == 128 + signal.SIGINT else code)


def _run() -> int:
    """Run the command line and return its exit code. Print an error as one line."""
    try:
        code: object = _smspva.main(prog_name="smspva", standalone_mode=False)
        with suppress(BrokenPipeError):  # a command handles a closed pipe itself
            sys.stdout.flush()
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        message, failure = error.format_message(), error.exit_code
    except SmspvaError as error:
        message, failure = _explain(error), _exit_code(error)
    except ValueError as error:  # the library raises it for invalid arguments, before anything is sent
        message, failure = str(error), 2
    except SystemExit:  # rich and click exit by themselves when the reader closed the pipe
        return 0
    except OSError as error:  # such as a full disk behind standard output
        if isinstance(error.__context__, KeyboardInterrupt):  # click can't write the newline after Ctrl-C
            return 128 + signal.SIGINT
        if isinstance(error, BrokenPipeError):
            return 0
        message, failure = error.strerror or str(error), 1
    else:
        return code if isinstance(code, int) else 0
    print_stderr(f"smspva: {fmt.clean(message)}")
    return failure


def _replace_closed_streams() -> None:
    """Replace closed standard streams, so that no connection or file gets their descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            devnull = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(devnull, mode, closefd=False))  # noqa: SIM115 - stays open


def _correct_terminal_variables() -> None:
    """Remove a width or height of 0, which makes rich print nothing, and treat a terminal without a type as dumb."""
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "").lstrip("0"):
            os.environ.pop(name, None)
    if sys.platform != "win32" and not os.environ.get("TERM"):
        os.environ["TERM"] = "dumb"


def _explain(error: SmspvaError) -> str:
    """Return a message: what happened, and which command to use next."""
    match error:
        case OutcomeUnknown(__cause__=cause):
            name, reason = command_name(error.method), f" ({cause.message})" if isinstance(cause, SmspvaError) else ""
            return (
                f"{name}: the request was sent, but its outcome is unknown{reason}; don't repeat it; run smspva"
                " unsettled to check"
            )
        case WaitTimeout(state=state, last_success=last):
            timeout = error.message.partition(";")[0]
            state_text = (
                "it was never listed" if state is None else f"it is {STATE_WORDS.get(state, 'in an unknown state')}"
            )
            last_answer = "none" if last is None else fmt.second(last)
            last_failure = error.last_failure or "none"
            return (
                f"{timeout}; {state_text}; last answer: {last_answer}; last failure: {last_failure}; you can wait again"
            )
        case OrderGone():
            return (
                f"order {error.order_id} is no longer listed: it expired or was deleted; smspva history lists past"
                " orders"
            )
        case _:
            return describe_error(error)


def _exit_code(error: SmspvaError) -> int:
    match error:
        case OutcomeUnknown():
            return 3
        case ConnectionFailed() | RequestTimeout() | UnexpectedResponse():
            return 4
        case JournalError():
            return 2
        case _:
            return 1


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[list[bool]]:
    """Make SIGTERM end a command as cleanly as Ctrl-C. The yielded list isn't empty once SIGTERM arrived."""
    terminated: list[bool] = []

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and not terminated:
            # Ctrl-C came first, and the command takes too long to end. The ledger has each call that was sent.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        terminated.append(True)
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's shell ignores it for programs started with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


class _UnsortedGroup(click.Group):
    """A group that lists its commands in the order they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(self.commands)


@click.group(
    cls=_UnsortedGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"""{examples("smspva demo", "smspva watch --api-key-file ~/.config/smspva-key")}

\b
Exit codes:
  0    success, or the reader of a pipe closed it
  1    refused by the provider, above --max-price, a wait timed out, or drift
  2    wrong usage, or a ledger or journal that can't be used
  3    the outcome of a purchase is unknown, or its result can't be printed
  4    network or server failure
  130  interrupted with Ctrl-C, or answered "no"
  143  terminated by SIGTERM
""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def _smspva(context: click.Context) -> None:
    """Rent phone numbers from SMSPVA, and watch them and their messages."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    _demo.demo,
    _catalogue.services,
    _catalogue.countries,
    _catalogue.offers,
    _catalogue.stock,
    _catalogue.balance,
    _spending.rent,
    _orders.orders,
    _orders.sms,
    _orders.activate,
    _watch.watch,
    _spending.prolong,
    _spending.add_service,
    _spending.delete,
    _catalogue.history,
    _spending.restore,
    _purchases.purchases,
    _purchases.unsettled,
    _fleet.fleet,
    _doctor.doctor,
    _simulate.simulate,
):
    _smspva.add_command(_command)

"""The commands as one program: its start, its exit codes and its error messages."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import anyio
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
from smspva_async.cli import _catalogue, _numbers, _purchases, _simulate, _spending, _unsettled, _watch
from smspva_async.cli._demo import demo
from smspva_async.cli._lines import JsonLines, Lines
from smspva_async.cli._output import Printer, printing
from smspva_async.cli._values import example
from smspva_async.cli._words import STATUS, clean, command, describe, second

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_what_is_closed()
    _correct_terminal_variables()
    # What the library warns of is an event as well, and shown as one.
    logging.getLogger("smspva_async").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a message may be in a script that the output can't encode
            stream.reconfigure(errors="backslashreplace")
    with _sigterm_as_ctrl_c() as terminated:
        code = _run()
    sys.exit(128 + signal.SIGTERM if terminated and code == 128 + signal.SIGINT else code)


def _run() -> int:
    """Run the command line and return its exit code. Errors are one line each."""
    try:
        code: object = _smspva.main(prog_name="smspva", standalone_mode=False)
        with suppress(BrokenPipeError):  # a command handles a closed pipe itself
            sys.stdout.flush()
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        told, failed = error.format_message(), error.exit_code
    except SmspvaError as error:
        told, failed = _explain(error), _exit_code(error)
    except ValueError as error:  # the library's, for what can't be right: before anything is sent
        told, failed = str(error), 2
    except SystemExit:  # rich and click exit by themselves when the reader closed the pipe
        return 0
    except OSError as error:  # a full disk behind standard output, for one
        if isinstance(error.__context__, KeyboardInterrupt):  # click can't write the newline after Ctrl-C
            return 128 + signal.SIGINT
        if isinstance(error, BrokenPipeError):
            return 0
        told, failed = error.strerror or str(error), 1
    else:
        return code if isinstance(code, int) else 0
    with suppress(OSError):  # the exit code tells it as well
        click.echo(f"smspva: {clean(told)}", err=True)
    return failed


def _open_what_is_closed() -> None:
    """Let a closed standard stream be one that leads nowhere, before a connection or the ledger takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))  # noqa: SIM115 - it stays


def _correct_terminal_variables() -> None:
    """Remove a width or height of 0, with which rich prints nothing, and treat a terminal without a type as dumb."""
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "").lstrip("0"):
            os.environ.pop(name, None)
    if sys.platform != "win32" and not os.environ.get("TERM"):
        os.environ["TERM"] = "dumb"


def _explain(error: SmspvaError) -> str:
    """Return what happened and what to do about it with commands."""
    match error:
        case OutcomeUnknown(__cause__=cause):
            name, reason = command(error.method), f" ({cause.message})" if isinstance(cause, SmspvaError) else ""
            return (
                f"{name}: it was sent, and it isn't known whether it was done{reason}; don't repeat it:"
                " smspva unsettled looks into it"
            )
        case WaitTimeout(state=state, last_success=last):
            what = error.message.partition(";")[0]
            stands = "it was never listed" if state is None else f"it is {STATUS.get(state, 'in an unknown state')}"
            answered = "no answer came" if last is None else f"last answer {second(last)}"
            failed = error.last_failure or "none"
            return f"{what}; {stands}; {answered}; last failure: {failed}; it can be waited for again"
        case OrderGone():
            return f"order {error.order_id} is gone: it expired or was deleted; smspva history lists past orders"
        case _:
            return describe(error)


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
    """Have SIGTERM end a command as cleanly as Ctrl-C does; what is yielded isn't empty once it came."""
    terminated: list[bool] = []

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and not terminated:
            # Ctrl-C came before, and what it ended takes too long; a ledger remembers what was sent.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        terminated.append(True)
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell has it so for what a script starts with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


class _InOrder(click.Group):
    """Lists its commands in the order in which a number needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"""{example("smspva demo", "smspva watch --api-key-file ~/.config/smspva-key")}

\b
Exit codes:
  0    done, or the reader of the output closed the pipe
  1    refused by the provider, dearer than --max-price, or what was waited
       for didn't come
  2    wrong usage, or a ledger or journal that can't be used
  3    it isn't known, or can't be told, whether something that spends money
       was done
  4    the network or the server failed
  130  ended by Ctrl-C or by a "no" (143: by SIGTERM)
""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def _smspva(context: click.Context) -> None:
    """Rent phone numbers at SMSPVA, and watch them and the messages they receive."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@click.command("demo", epilog=example("smspva demo"))
@printing
def _demo(printer: Printer) -> None:
    """Show in 15 seconds what a watch is like, without an account.

    Three numbers are rented from a simulated provider. They are activated, receive messages, lapse and come back, and
    the network fails once.
    """
    anyio.run(demo, JsonLines(printer) if printer.as_json else Lines(printer.output))


for _command in (
    _demo,
    _catalogue.services,
    _catalogue.countries,
    _catalogue.offers,
    _catalogue.stock,
    _catalogue.balance,
    _spending.rent,
    _numbers.orders,
    _numbers.sms,
    _numbers.activate,
    _watch.watch,
    _spending.prolong,
    _spending.add_service,
    _spending.delete,
    _catalogue.history,
    _spending.restore,
    _purchases.purchases,
    _unsettled.unsettled,
    _simulate.simulate,
):
    _smspva.add_command(_command)

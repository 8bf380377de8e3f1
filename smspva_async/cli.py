"""The command line, `smspva`. It needs the extra `cli`.

Exit codes: 0 done, 1 refused by the provider, 2 wrong usage, 3 outcome unknown, 4 network; 130 after Ctrl-C, 143 after
SIGTERM. A closed pipe ends a command with 0: whoever read it has read enough.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio
import click
from rich.console import Console

from smspva_async import (
    ConnectionFailed,
    InvalidKey,
    OutcomeUnknown,
    PollFailed,
    RequestTimeout,
    SmspvaClient,
    SmspvaError,
    UnexpectedResponse,
    Watcher,
)
from smspva_async._demo import demo
from smspva_async._lines import Lines, clean

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["main"]


_ADDRESS = "https://smspva.com/api/rent.php"


def main() -> NoReturn:
    """Run the command line and exit."""
    # What the library warns of is an event as well, and shown as one.
    logging.getLogger("smspva_async").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a message may be in a script that the output can't encode
            stream.reconfigure(errors="backslashreplace")
    with _sigterm_as_ctrl_c() as terminated:
        code = _run()
    sys.exit(128 + signal.SIGTERM if terminated else code)


def _run() -> int:
    """Run the command line and return its exit code. Errors are one line each."""
    try:
        code: object = _smspva.main(prog_name="smspva", standalone_mode=False)
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        told, failed = error.format_message(), error.exit_code
    except SmspvaError as error:
        told, failed = str(error), _exit_code(error)
    except OSError as error:  # a full disk behind standard output, for one
        # Python would try again at its end to write what is left, and say so in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        told, failed = error.strerror or str(error), 1
    else:
        return code if isinstance(code, int) else 0
    click.echo(f"smspva: {clean(told)}", err=True)
    return failed


def _exit_code(error: SmspvaError) -> int:
    match error:
        case OutcomeUnknown():
            return 3
        case ConnectionFailed() | RequestTimeout() | UnexpectedResponse():
            return 4
        case _:
            return 1


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[list[bool]]:
    """Have SIGTERM end a command as cleanly as Ctrl-C does; what is yielded isn't empty once it came."""
    terminated: list[bool] = []

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        terminated.append(True)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


class _Output(Console):
    """Standard output: in colour on a terminal unless ``NO_COLOR`` is set, otherwise plain text."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        colourful = terminal and not os.environ.get("NO_COLOR")
        super().__init__(force_terminal=terminal, color_system="auto" if colourful else None, highlight=False)

    def on_broken_pipe(self) -> None:
        """End with 0, where rich would with 1."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(0) from None


def _example(*commands: str) -> str:
    """Return the end of a help text."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"""{_example("smspva demo", "smspva watch --api-key-file ~/.config/smspva-key")}

\b
Exit codes:
  0    done, or whoever read the output closed the pipe
  1    refused by the provider
  2    wrong usage
  3    it isn't known whether something that spends money was done
  4    the network or the server failed
  130  ended by Ctrl-C (143: by SIGTERM)
""",
)
@click.pass_context
def _smspva(context: click.Context) -> None:
    """Watch phone numbers rented at SMSPVA, and the messages they receive."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@_smspva.command("demo", epilog=_example("smspva demo"))
def _demo() -> None:
    """Show in 15 seconds what a watch is like, without an account.

    Three numbers are rented from a simulated provider. They are activated, receive messages, lapse and come back, and
    the network fails once.
    """
    anyio.run(demo, Lines(_Output()))


@_smspva.command("watch", epilog=_example("smspva watch --api-key-file ~/.config/smspva-key"))
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file with the API key; by default the key is in the environment variable SMSPVA_API_KEY.",
)
@click.option("--base-url", default=_ADDRESS, metavar="URL", show_default=True, help="The address of the API.")
@click.option(
    "--interval", type=float, default=30.0, metavar="SECONDS", show_default="30", help="The time between two polls."
)
def _watch(api_key_file: Path | None, base_url: str, interval: float) -> None:
    """Show your numbers' states, messages and codes until Ctrl-C.

    Messages that were there before are not shown. If the network fails, the watch goes on as soon as it is back.
    """
    try:
        client = SmspvaClient(_api_key(api_key_file), base_url=base_url)
        watcher = Watcher(client, interval=interval)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    lines = Lines(_Output())
    lines.say(f"Watching {base_url} every {interval:g} s. Ctrl-C ends it.", "bold")
    anyio.run(_show, client, watcher, lines)


def _api_key(file: Path | None) -> str:
    """Return the key. The library takes care of what can't be one."""
    if file is None:
        key, place = os.environ.get("SMSPVA_API_KEY", ""), "the environment variable SMSPVA_API_KEY"
    else:
        try:
            key, place = file.read_text(encoding="utf-8"), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise click.UsageError(f"the API key can't be read from {file}: {reason}") from None
    if not key.strip():
        raise click.UsageError(f"there is no API key in {place}")
    return key.strip()


async def _show(client: SmspvaClient, watcher: Watcher, lines: Lines) -> None:
    """Print the events of a watch until it ends."""
    async with client, watcher:
        lines.fit(watcher.orders.values())
        if watcher.last_success and not watcher.orders:
            lines.say("No number is rented yet.")
        async for event in watcher.events(after=0):
            if isinstance(event, PollFailed) and event.kind == InvalidKey.__name__:
                await _ask_again(client)
            lines.show(event)


async def _ask_again(client: SmspvaClient) -> None:
    """Raise `InvalidKey` if the server says it again, rather than have a mistyped key wait for the next poll."""
    try:
        await client.orders()
    except InvalidKey:
        raise
    except SmspvaError:
        pass  # the watch goes on, and tells of it

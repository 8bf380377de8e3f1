"""The group of all commands. A command's module is imported when the command runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import click

from smspva_async import __version__
from smspva_async.cli._exit_codes import MEANINGS
from smspva_async.cli._help import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("_demo", "Show a 15-second demo without an account."),
    "services": ("_catalogue", "List all services by name."),
    "countries": ("_catalogue", "List the countries that have numbers."),
    "offers": ("_catalogue", "List the services in a country, cheapest first."),
    "stock": ("_catalogue", "Show how many numbers a country has for each service."),
    "balance": ("_catalogue", "Show the account balance in US dollars."),
    "rent": ("_spending", "Rent a number for one or more services."),
    "orders": ("_orders", "List your rented numbers."),
    "sms": ("_orders", "Print a number's messages and their codes."),
    "activate": ("_orders", "Activate a number, so that it can receive messages."),
    "watch": ("_watch", "Watch your numbers and messages."),
    "forward": ("_forward", "Send each event to your server as a signed webhook."),
    "prolong": ("_spending", "Prolong a rental."),
    "renew": ("_renew", "Prolong the rentals that end soon, within a budget."),
    "add-service": ("_spending", "Rent another service on a number."),
    "delete": ("_spending", "Delete a rented number."),
    "history": ("_catalogue", "List past orders, as in the archive on the provider's page."),
    "restore": ("_spending", "Restore an expired rental."),
    "purchases": ("_purchases", "List recorded purchases and deletions, oldest first."),
    "unsettled": ("_purchases", "Check purchases and deletions whose outcome is unknown."),
    "fleet": ("_fleet", "Show the processes that share the account through Redis."),
    "doctor": ("_doctor", "Compare the server's answers with what is known of them."),
    "simulate": ("_simulate", "Run a simulated provider on this machine."),
    "completion": ("_completion", "Print the script that completes words in a shell."),
}
"""The module and the summary of each command, in the order of the help text."""


class _LazyGroup(click.Group):
    """A group whose `commands` have only names and summaries until one is resolved."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names of the commands, in the order of the table."""
        return [*self.commands]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and command.name is not None:
            module, _ = _COMMANDS[command.name]
            defined = vars(import_module(f"smspva_async.cli.{module}"))
            command = cast("click.Command", defined[command.name.replace("-", "_")])
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the commands with their whole summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit codes."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl(MEANINGS)


@click.group(
    cls=_LazyGroup,
    commands=[click.Command(name, short_help=summary) for name, (_, summary) in _COMMANDS.items()],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("smspva demo", "smspva watch --api-key-file ~/.config/smspva-key"),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def smspva(context: click.Context) -> None:
    """Rent phone numbers from SMSPVA, and watch them and their messages."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

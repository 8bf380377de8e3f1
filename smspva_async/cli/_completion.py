"""The command `completion`: a script that lets a shell complete commands, options, codes and order ids."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from smspva_async.cli._help import examples

_VARIABLE = "_SMSPVA_COMPLETE"
_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_INSTALLATION = {
    "bash": 'add this line to ~/.bashrc:  eval "$(smspva completion bash)"',
    "zsh": 'add this line to ~/.zshrc, after compinit:  eval "$(smspva completion zsh)"',
    "fish": "run:  smspva completion fish > ~/.config/fish/completions/smspva.fish",
}


@click.command(epilog=examples('eval "$(smspva completion bash)"'))
@click.argument("shell", type=click.Choice([*_SHELLS]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes words in a shell.

    The end of the script says where to put it. Service codes, country codes and order ids are those that the last
    commands got from the provider; no request is sent. A service or country can be completed from the start of its name
    too.
    """
    script = _SHELLS[shell](context.find_root().command, {}, "smspva", _VARIABLE).source()
    click.echo(f"{script.rstrip()}\n\n# For every new shell, {_INSTALLATION[shell]}")

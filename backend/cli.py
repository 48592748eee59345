"""The command line: dreamtime COMMAND, or python -m backend COMMAND.

Commands live in `backend.commands` and are imported only when they run, so that `--help` and bad options
answer at once.
"""

import importlib
import os
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from backend.errors import UserError
from shared.errors import Trouble

COMMANDS = {
    "bench": ("bench", "Measure how fast this machine is, and print it with the machine's name."),
    "cancel": ("jobs", "End a job, whether it waits or runs."),
    "clients": ("pairing", "List who may use this machine's backend."),
    "compare": ("compare", "Make one prompt by two schedules with the same seed and budget, side by side."),
    "delete": ("jobs", "Remove a finished job and its results from the backend."),
    "doctor": ("doctor", "Print what this machine has and lacks, with the fix for each lack."),
    "evaluate": ("evaluate", "Compare the schedules as the paper does, and say what holds here."),
    "fetch": ("jobs", "Bring the results of a job here, checked byte for byte."),
    "follow": ("jobs", "Show the progress of a job until it is finished."),
    "gallery": ("gallery", "Make objects drawn from all that the built-in model knows, and judge them."),
    "generate": ("generate", "Turn a prompt into a textured mesh."),
    "jobs": ("jobs", "List your jobs on the backend."),
    "models": ("models", "List, add and remove diffusion models."),
    "pair": ("pairing", "Let an artist on another machine use this one's backend."),
    "revoke": ("pairing", "Let an artist in no longer."),
    "schedule": ("schedule", "Print the timestep schedules, and draw them."),
    "serve": ("serve", "Run the backend: take jobs, do them, keep the results."),
    "submit": ("jobs", "Ask the backend for a textured mesh, on this machine or another."),
}
"""The module of each command, and what it does."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise UserError(f'there is no command "{cmd_name}"; choose one of {", ".join(COMMANDS)}')
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"backend.commands.{module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Text to 3D by time-prioritised score distillation."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. What the user got wrong is one line on stderr and code 2."""
    _settle_streams()
    try:
        return cli.main(arguments, standalone_mode=False) or 0
    except (UserError, Trouble) as error:
        return _refuse(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 0
    except ModuleNotFoundError as error:
        return _refuse(f"the package {error.name} is missing; dreamtime doctor says what to install")
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; jobs of a backend go on, and generate and evaluate commands do with --resume", err=True)
        return 130
    except OSError as error:
        if not _output_is_lost():
            raise
        return _refuse(f"cannot write what should be printed ({error.strerror}); send it to where there is room")


def _settle_streams() -> None:
    """Let names of any language be printed on any terminal, and nothing be printed where a stream is closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # its number would go to the next file that is opened
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # to the very end
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _output_is_lost() -> bool:
    """Whether standard output takes no more. Then what waits for it is dropped: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False


def _refuse(message: str) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return 2

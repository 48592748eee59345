"""The command line: python -m backend COMMAND.

Commands live in `backend.commands`, one module each, and are imported only when they run, so that
`--help` and bad options answer at once.
"""

import importlib

import click

from backend.errors import UserError

COMMANDS = {
    "bench": "Measure how fast this machine is, and print it with the machine's name.",
    "compare": "Make one prompt by two schedules with the same seed and budget, side by side.",
    "doctor": "Print what this machine has and lacks, with the fix for each lack.",
    "gallery": "Make one object of each kind that the built-in model knows, and judge them.",
    "generate": "Turn a prompt into a textured mesh.",
    "models": "List, add and remove diffusion models.",
    "schedule": "Print the timestep schedules, and draw them.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise UserError(f'there is no command "{cmd_name}"; choose one of {", ".join(COMMANDS)}')
        command: click.Command = getattr(importlib.import_module(f"backend.commands.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Text to 3D by time-prioritised score distillation."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. What the user got wrong is one line on stderr and code 2."""
    try:
        return cli.main(arguments, prog_name="python -m backend", standalone_mode=False) or 0
    except UserError as error:
        return _refuse(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 0
    except ModuleNotFoundError as error:
        return _refuse(f"the package {error.name} is missing; python -m backend doctor says what to install")
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; a generate command goes on where it was with --resume", err=True)
        return 130


def _refuse(message: str) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return 2

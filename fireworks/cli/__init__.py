"""The command line: ``fireworks sweep``, ``list``, ``show``, ``compare``, ``plot`` and others.

Each command lives in a module of its own, which imports what is heavy only when it runs.
"""

from __future__ import annotations

import sys

import typer

from fireworks.cli import (
    archive,
    compare,
    listing,
    logs,
    plot,
    removal,
    resume,
    show,
    stop,
    sweep,
)
from fireworks.errors import FireworksError

app = typer.Typer(
    name="fireworks",
    help="From raw data to a trained, tuned and documented model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sweep")(sweep.run_sweep)
app.command("list")(listing.list_runs)
app.command("show")(show.show_run)
app.command("compare")(compare.compare_two)
app.command("resume")(resume.resume_run)
app.command("stop")(stop.stop_run)
app.command("logs")(logs.show_logs)
app.command("plot")(plot.plot_run)
app.command("export")(archive.export_table)
app.command("archive")(archive.archive_one)
app.command("restore")(archive.restore_one)
app.command("rm")(removal.remove)
app.command("gc")(removal.collect)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 1."""
    try:
        app()
    except (FireworksError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `fireworks list | head`: nobody reads on
            sys.stderr.close()
        else:
            message = " ".join(str(error).split())
            print(f"error: {message}", file=sys.stderr)
        sys.exit(1)

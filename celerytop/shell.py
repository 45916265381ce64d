"""What every command shares: which cluster is meant, sentences for errors, exit codes, and what is printed.

Everything heavy is imported inside the functions.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from celerytop.errors import CRASHED, CelerytopError, NoBrokerError, OutputError, crash_text

if TYPE_CHECKING:
    from celerytop.discover import Found
    from celerytop.model.address import BrokerSettings
    from celerytop.options import Options

F = TypeVar("F", bound=Callable[..., Any])

WHERE = (
    click.option("-A", "--app", metavar="APP", help="Celery app, as for `celery -A`: its own settings count."),
    click.option("-b", "--broker", metavar="URL", help="Broker URL: redis, rediss, sentinel, amqp, amqps, ..."),
    click.option("-C", "--cluster", metavar="NAME", help="A cluster of the config file."),
    click.option("--management-url", metavar="URL", help="RabbitMQ's HTTP API, when not on port 15672."),
    click.option("--read-only", is_flag=True, default=None, help="Open no path to an action."),
    click.option("--passive", is_flag=True, default=None, help="Publish nothing at all, not even `inspect`."),
)


def with_options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Give a command these options."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@contextmanager
def sentences() -> Iterator[None]:
    """Turn errors into one sentence on stderr and an exit code, signals into an orderly end, bugs into two lines."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)
    try:
        yield
        with writing():
            if sys.stdout is not None:  # it was closed before we came
                sys.stdout.flush()
    except CelerytopError as error:
        _end(f"celerytop: {error}" if str(error) else None, error.exit_code)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        _end(crash_text(error), CRASHED)


def _end(last_words: str | None, code: int) -> NoReturn:
    """Say it, even if there is nobody to hear it, and end."""
    with suppress(OSError):
        if last_words:
            click.echo(last_words, err=True)
    raise SystemExit(code) from None


@contextmanager
def writing() -> Iterator[None]:
    """Turn a standard output that takes no more into an ``OutputError``, and into a sink: Python flushes at its end."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        gone = error.errno in (errno.EPIPE, errno.ESHUTDOWN)
        raise OutputError.of(None if gone else error.strerror) from None


def out(text: str) -> None:
    with writing():
        click.echo(text)


def merged(context: click.Context, flags: dict[str, Any]) -> dict[str, Any]:
    """Flags may stand before or after the subcommand; the later word counts."""
    before = {key: value for key, value in (context.obj or {}).items() if key not in flags or not flags[key]}
    source = click.core.ParameterSource.DEFAULT
    given = {key: value for key, value in flags.items() if context.get_parameter_source(key) is not source}
    return {**flags, **before, **given}


def options_of(flags: dict[str, Any]) -> tuple[Options, BrokerSettings]:
    """Which cluster: what was said, or what runs on this host."""
    from celerytop.options import load

    options = load(flags, os.environ, os.getcwd())
    if options.broker is None:
        from celerytop.discover import find

        options = find(options, os.environ, _choose if sys.stdin.isatty() and sys.stdout.isatty() else None)
    for warning in options.warnings:
        click.echo(f"celerytop: {warning}", err=True)
    if options.broker is None:
        raise NoBrokerError("No broker was found: give one with -b or -A, or try `celerytop demo`.")
    return options, options.broker


def _choose(found: tuple[Found, ...]) -> Found:
    """Let a person choose among the brokers that workers of this host use."""
    click.echo("Workers on this host use several brokers:")
    for number, one in enumerate(found, 1):
        names = ", ".join(one.nodenames[:3]) + (", ..." if len(one.nodenames) > 3 else "")
        click.echo(f"  {number}  {one.settings.address.url}   {names}")
    number = click.prompt("Which one", type=click.IntRange(1, len(found)), default=1)
    return found[number - 1]

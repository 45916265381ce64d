"""The command line: ``celerytop``, ``celerytop once``, ``celerytop demo``, and ``celery -A proj top``.

Everything heavy is imported inside the commands: ``celerytop --help`` costs click alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from celerytop import __version__
from celerytop.errors import CelerytopError, NoBrokerError

if TYPE_CHECKING:
    from celerytop.discover import Found
    from celerytop.model.address import BrokerSettings
    from celerytop.options import Options
    from celerytop.report.choice import Choice

PAGES = ("queues", "workers", "tasks", "broker", "hosts", "types")
F = TypeVar("F", bound=Callable[..., Any])

_WHERE = (
    click.option("-A", "--app", metavar="APP", help="Celery app, as for `celery -A`: its own settings count."),
    click.option("-b", "--broker", metavar="URL", help="Broker URL: redis, rediss, sentinel, amqp, amqps, ..."),
    click.option("-C", "--cluster", metavar="NAME", help="A cluster of the config file."),
    click.option("--management-url", metavar="URL", help="RabbitMQ's HTTP API, when not on port 15672."),
    click.option("--read-only", is_flag=True, default=None, help="Open no path to an action."),
    click.option("--passive", is_flag=True, default=None, help="Publish nothing at all, not even `inspect`."),
)
_SCREEN = (
    click.option("--interval", type=click.FloatRange(0.5, 10), help="Seconds between two pictures (1)."),
    click.option("--ascii", is_flag=True, default=None, help="Draw with ASCII alone."),
    click.option("--theme", type=click.Choice(["dark", "light", "mono", "ascii"]), help="Colours."),
    click.option("--mouse/--no-mouse", default=None, help="Take the mouse (off over SSH)."),
    click.option("--utc", is_flag=True, default=None, help="Show moments in UTC."),
)
_PRINT = (
    click.option("--json", "as_json", is_flag=True, help="JSON, schema 1 (see --schema)."),
    click.option("--page", "pages", type=click.Choice(PAGES), multiple=True, help="Only this page; may repeat."),
    click.option("--filter", "only", metavar="TEXT", help="Rows that match, e.g. 'state:STARTED runtime:>30'."),
    click.option("--width", type=click.IntRange(40, 500), default=120, help="Columns of the text (120)."),
)
_REPEAT = (
    click.option("-n", "times", type=click.IntRange(1), default=1, metavar="N", help="Pictures (1)."),
    click.option("-d", "delay", type=click.FloatRange(0.1), default=2.0, metavar="S", help="Seconds between (2)."),
)


def _with(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn errors into one sentence on stderr and an exit code; turn SIGTERM into an orderly end."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except CelerytopError as error:
        click.echo(f"celerytop: {error}", err=True)
        raise SystemExit(error.exit_code) from None


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@_with(*_WHERE, *_SCREEN, *_PRINT, *_REPEAT)
@click.option("--batch", is_flag=True, help="Print instead of drawing, as `top -b`.")
@click.version_option(__version__, prog_name="celerytop")
@click.pass_context
def main(context: click.Context, /, **flags: Any) -> None:
    """`top` for a Celery cluster: what grows, who does not work, and why.

    Without -b or -A the broker is taken from CELERYTOP_BROKER, CELERY_BROKER_URL, the config file, or the Celery
    workers that run on this host. Looking never changes the cluster.
    """
    context.obj = flags
    if context.invoked_subcommand is None:
        with _sentences():
            _print(flags) if flags["batch"] or flags["as_json"] else _screen(flags)


@main.command()
@_with(*_WHERE, *_PRINT, *_REPEAT)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of --json and end.")
@click.pass_context
def once(context: click.Context, /, schema: bool, **flags: Any) -> None:
    """Print one truthful picture and end: exit 0, or 3 when it could not look."""
    if schema:
        from celerytop.report.once import json_schema

        click.echo(json_schema())
        return
    with _sentences():
        _print(_merged(context, flags))


@main.command()
@_with(*_SCREEN)
@click.option("--scenario", default="mix", metavar="NAME", help="What the demo cluster goes through (mix).")
@click.pass_context
def demo(context: click.Context, /, scenario: str, **flags: Any) -> None:
    """Start a small real cluster (embedded Valkey, three workers, a producer) and look at it."""
    with _sentences():
        from celerytop.broker_url import parse_url
        from celerytop.demo.cluster import DemoCluster
        from celerytop.model.address import BrokerSettings

        with DemoCluster(scenario) as cluster:
            settings = BrokerSettings(address=parse_url(cluster.broker_url))
            _screen({**_merged(context, flags), "settings": settings, "cluster_label": f"demo {scenario}"})


@click.command(name="top")
@_with(*_SCREEN, *_PRINT, *_REPEAT)
@click.option("--batch", is_flag=True, help="Print instead of drawing.")
@click.option("--read-only", is_flag=True, default=None, help="Open no path to an action.")
@click.option("--passive", is_flag=True, default=None, help="Publish nothing at all.")
@click.pass_context
def celery_command(context: click.Context, /, **flags: Any) -> None:
    """Watch this app's cluster with celerytop."""
    with _sentences():
        from celerytop.app_settings import settings_from_app

        app = context.obj.app
        flags.update(settings=settings_from_app(app), app_name=app.main)
        _print(flags) if flags["batch"] else _screen(flags)


def _merged(context: click.Context, flags: dict[str, Any]) -> dict[str, Any]:
    """Flags may stand before or after the subcommand; the later word counts."""
    before = {key: value for key, value in (context.obj or {}).items() if key not in flags or not flags[key]}
    source = click.core.ParameterSource.DEFAULT
    given = {key: value for key, value in flags.items() if context.get_parameter_source(key) is not source}
    return {**flags, **before, **given}


def _options(flags: dict[str, Any]) -> tuple[Options, BrokerSettings]:
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


def _print(flags: dict[str, Any]) -> None:
    from celerytop.build import build
    from celerytop.model.command import Attend
    from celerytop.watch import look

    choice = _choice(flags)
    options, settings = _options(flags)
    monitor = build(options, settings, attention=Attend(page="all"))
    for snapshot in look(monitor, flags["times"], flags["delay"]):
        if flags["as_json"]:
            from celerytop.report.once import as_json

            click.echo(as_json(snapshot, choice))
        else:
            from celerytop.report.table import as_text

            click.echo(as_text(snapshot, choice, width=flags["width"]))


def _choice(flags: dict[str, Any]) -> Choice:
    from celerytop.report.choice import Choice
    from celerytop.select import parse

    return Choice(tuple(flags["pages"]), parse(flags["only"]) if flags["only"] else None)


def _screen(flags: dict[str, Any]) -> None:
    from celerytop.ui.terminal import Settings, check_terminal

    check_terminal(os.environ, sys.stdin, sys.stdout)
    flags["page"] = next(iter(flags.get("pages", ())), None)
    options, settings = _options(flags)

    from celerytop.build import build
    from celerytop.ui.run import run_app

    monitor = build(options, settings)
    monitor.start()
    try:
        code = run_app(
            monitor,
            Settings(
                ascii=options.ascii,
                theme=options.theme,
                mouse=options.mouse,
                read_only=options.read_only,
                utc=options.utc,
                page=options.page,
            ),
        )
    finally:
        monitor.stop()
    raise SystemExit(code)

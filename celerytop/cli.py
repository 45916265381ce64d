"""The command line: ``celerytop``, ``celerytop once``, ``celerytop demo``, and ``celery -A proj top``.

Everything heavy is imported inside the commands: ``celerytop --help`` costs click alone.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from celerytop import __version__
from celerytop.errors import CRASHED, CelerytopError, NoBrokerError, OutputError, crash_text
from celerytop.model.secret import redact_url

if TYPE_CHECKING:
    from celerytop.discover import Found
    from celerytop.model.address import BrokerSettings
    from celerytop.options import Options
    from celerytop.report.choice import Choice

PAGES = ("queues", "workers", "tasks", "broker", "hosts", "types")
F = TypeVar("F", bound=Callable[..., Any])
_LEAVING, _CUT_OFF = 1.5, 0.2
"""Seconds that leaving the screen waits at most, mostly none: a round of questions that waits for a mute worker ends
within one, and only then its reply list can be deleted. Without a broker there is nothing to wait for."""

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
    click.option(
        "--page", "pages", type=click.Choice(PAGES), multiple=True, help="Where to start; printed: only these."
    ),
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
    """Turn errors into one sentence on stderr and an exit code, signals into an orderly end, bugs into two lines."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)
    try:
        yield
        with _writing():
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
def _writing() -> Iterator[None]:
    """Turn a standard output that takes no more into an ``OutputError``, and into a sink: Python flushes at its end."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        gone = error.errno in (errno.EPIPE, errno.ESHUTDOWN)
        raise OutputError.of(None if gone else error.strerror) from None


def _out(text: str) -> None:
    with _writing():
        click.echo(text)


class _Program(click.Group):
    """Click's group, ending as the commands do whatever happens; what was typed may hold a password."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """See ``click.Command``."""
        run: Any = super().main
        try:
            with _sentences(), _writing():
                code = run(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            masked = re.sub(r"(\w+://)?[^'\"\s]*@", r"\1***@", redact_url(error.message))
            error.message = masked  # type: ignore[misc]
            with suppress(OSError):
                error.show()
            raise SystemExit(error.exit_code) from None
        except click.Abort:
            raise SystemExit(128 + signal.SIGINT) from None
        if standalone_mode:
            raise SystemExit(code if isinstance(code, int) else 0)
        return code


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
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

        with _sentences():
            _out(json_schema())
        return
    with _sentences():
        _print(_merged(context, flags))


@main.command()
@_with(*_SCREEN)
@click.option("--scenario", default="mix", metavar="NAME", help="mix, backlog or stuck (mix).")
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
        _print(flags) if flags["batch"] or flags["as_json"] else _screen(flags)


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

            _out(as_json(snapshot, choice))
        else:
            from celerytop.report.table import as_text

            _out(as_text(snapshot, choice, width=flags["width"]))


def _choice(flags: dict[str, Any]) -> Choice:
    from celerytop.report.choice import Choice
    from celerytop.select import parse

    return Choice(tuple(flags["pages"]), parse(flags["only"]) if flags["only"] else None)


def _screen(flags: dict[str, Any]) -> None:
    from celerytop.select import parse
    from celerytop.ui.terminal import Settings, check_terminal

    check_terminal(os.environ, sys.stdin, sys.stdout)
    flags = {**flags, "page": next(iter(flags.get("pages", ())), None), "filter": flags.get("only")}
    options, settings = _options(flags)
    parse(options.filter)  # a mistake is said before the screen opens
    look = Settings(
        ascii=options.ascii,
        theme=options.theme,
        mouse=options.mouse,
        read_only=options.read_only,
        utc=options.utc,
        page=options.page,
        filter=options.filter,
    )

    from celerytop.build import build
    from celerytop.model.observation import UP
    from celerytop.ui.run import run_app

    monitor = build(options, settings)
    try:
        code = run_app(monitor, look, begin=monitor.start)
    finally:
        answers = any(status.state == UP for status in monitor.latest.sources if status.name != "host")
        monitor.stop(patience=_LEAVING if answers else _CUT_OFF)
    raise SystemExit(code)

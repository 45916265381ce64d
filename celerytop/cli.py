"""The command line: ``celerytop``, ``celerytop once``, ``celerytop demo``, and ``celery -A proj top``.

Everything heavy is imported inside the commands: ``celerytop --help`` costs click alone.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from celerytop import __version__
from celerytop.shell import WHERE, merged, options_of, out, sentences, with_options, writing

if TYPE_CHECKING:
    from celerytop.report.choice import Choice

STARTS = ("queues", "workers", "tasks", "broker", "hosts", "types", "actions")
_LEAVING, _CUT_OFF = 1.5, 0.2
"""Seconds that leaving the screen waits at most, mostly none: a round of questions that waits for a mute worker ends
within one, and only then its reply list can be deleted. Without a broker there is nothing to wait for."""

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
        "--page", "pages", type=click.Choice(STARTS), multiple=True, help="Where to start; printed: only these."
    ),
    click.option("--filter", "only", metavar="TEXT", help="Rows that match, e.g. 'state:STARTED runtime:>30'."),
    click.option("--width", type=click.IntRange(40, 500), default=120, help="Columns of the text (120)."),
)
_REPEAT = (
    click.option("-n", "times", type=click.IntRange(1), default=1, metavar="N", help="Pictures (1)."),
    click.option("-d", "delay", type=click.FloatRange(0.1), default=2.0, metavar="S", help="Seconds between (2)."),
)


class _Program(click.Group):
    """Click's group, ending as the commands do whatever happens; what was typed may hold a password."""

    def list_commands(self, context: click.Context) -> list[str]:
        """See ``click.Group``."""
        self._complete()
        return super().list_commands(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """See ``click.Group``."""
        if name not in self.commands:
            self._complete()
        return super().get_command(context, name)

    def _complete(self) -> None:
        """Add the commands for runbooks, which the first screen need not wait for: 1.5 ms."""
        from celerytop import runbook

        for command in (runbook.revoke, runbook.purge, runbook.restore):
            self.add_command(command)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """See ``click.Command``."""
        run: Any = super().main
        try:
            with sentences(), writing():
                code = run(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            from celerytop.model.secret import redact_url

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
@with_options(*WHERE, *_SCREEN, *_PRINT, *_REPEAT)
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
        with sentences():
            _print(flags) if flags["batch"] or flags["as_json"] else _screen(flags)


@main.command()
@with_options(*WHERE, *_PRINT, *_REPEAT)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of --json and end.")
@click.pass_context
def once(context: click.Context, /, schema: bool, **flags: Any) -> None:
    """Print one truthful picture and end: exit 0, or 3 when it could not look."""
    if schema:
        from celerytop.report.once import json_schema

        with sentences():
            out(json_schema())
        return
    with sentences():
        _print(merged(context, flags))


@main.command()
@with_options(*_SCREEN)
@click.option("--scenario", default="mix", metavar="NAME", help="mix, backlog or stuck (mix).")
@click.pass_context
def demo(context: click.Context, /, scenario: str, **flags: Any) -> None:
    """Start a small real cluster (embedded Valkey, three workers, a producer) and look at it."""
    with sentences():
        from celerytop.broker_url import parse_url
        from celerytop.demo.cluster import DemoCluster
        from celerytop.model.address import BrokerSettings

        with DemoCluster(scenario) as cluster:
            settings = BrokerSettings(address=parse_url(cluster.broker_url))
            _screen({**merged(context, flags), "settings": settings, "cluster_label": f"demo {scenario}"})


@click.command(name="top")
@with_options(*_SCREEN, *_PRINT, *_REPEAT)
@click.option("--batch", is_flag=True, help="Print instead of drawing.")
@click.option("--read-only", is_flag=True, default=None, help="Open no path to an action.")
@click.option("--passive", is_flag=True, default=None, help="Publish nothing at all.")
@click.pass_context
def celery_command(context: click.Context, /, **flags: Any) -> None:
    """Watch this app's cluster with celerytop."""
    with sentences():
        from celerytop.app_settings import settings_from_app

        app = context.obj.app
        flags.update(settings=settings_from_app(app), app_name=_app_given(sys.argv, os.environ))
        _print(flags) if flags["batch"] or flags["as_json"] else _screen(flags)


def _app_given(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """What ``-A`` was: the name that a command to copy, and the config file, know the app by. Its own may be another.

    >>> _app_given(["celery", "-A", "shop.celery:app", "top"], {}), _app_given(["celery", "--app=shop", "top"], {})
    ('shop.celery:app', 'shop')
    >>> _app_given(["celery", "-Ashop", "top"], {}), _app_given(["celery", "-b", "redis://h", "top"], {"APP": "env"})
    ('shop', 'env')
    """
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word in ("-A", "--app"):
            return after or None
        for start in ("--app=", "-A"):
            if word.startswith(start):
                return word.removeprefix(start)
    return environ.get("APP") or environ.get("CELERY_APP") or None


def _print(flags: dict[str, Any]) -> None:
    from celerytop.build import build
    from celerytop.model.command import Attend
    from celerytop.watch import look

    choice = _choice(flags)
    options, settings = options_of(flags)
    monitor = build(options, settings, attention=Attend(page="all"))
    for snapshot in look(monitor, flags["times"], flags["delay"]):
        if flags["as_json"]:
            from celerytop.report.once import as_json

            out(as_json(snapshot, choice))
        else:
            from celerytop.report.table import as_text

            out(as_text(snapshot, choice, width=flags["width"]))


def _choice(flags: dict[str, Any]) -> Choice:
    from celerytop.report.choice import Choice
    from celerytop.select import parse

    if "actions" in flags["pages"]:
        raise click.UsageError("--page actions is for the screen: what was done before stands in the audit file")
    return Choice(tuple(flags["pages"]), parse(flags["only"]) if flags["only"] else None)


def _screen(flags: dict[str, Any]) -> None:
    from celerytop.ui.terminal import Settings, check_terminal

    check_terminal(os.environ, sys.stdin, sys.stdout)
    gc.disable()  # until the first screen is there: nothing of what is imported and made till then is garbage
    flags = {**flags, "page": next(iter(flags.get("pages", ())), None), "filter": flags.get("only")}
    options, settings = options_of(flags)
    if options.filter:
        from celerytop.select import parse

        parse(options.filter)  # a mistake is said before the screen opens
    look = Settings(
        ascii=options.ascii,
        theme=options.theme,
        mouse=options.mouse,
        read_only=options.read_only,
        utc=options.utc,
        page=options.page,
        filter=options.filter,
        app=options.app,
    )

    from celerytop.build import build, first_picture
    from celerytop.model.observation import UP
    from celerytop.ui.feed import LaterFeed
    from celerytop.ui.run import run_app

    feed = LaterFeed(first_picture(options, settings), lambda: build(options, settings))
    try:
        code = run_app(feed, look, begin=feed.begin)
    finally:
        answers = any(status.state == UP for status in feed.latest.sources if status.name != "host")
        feed.stop(patience=_LEAVING if answers else _CUT_OFF)
    raise SystemExit(code)

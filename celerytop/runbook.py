"""Actions for scripts and runbooks: ``celerytop revoke``, ``purge`` and ``restore``.

Exit code 0: every outcome is verified to be what was asked for; 1: not so; 3: it could not look.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from celerytop.shell import WHERE, merged, options_of, out, sentences, with_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from celerytop.model.action import AnyAction
    from celerytop.model.outcome import ActionReport
    from celerytop.model.snapshot import Snapshot

SIGNALS = ("SIGUSR1", "SIGINT", "SIGTERM", "SIGKILL", "SIGQUIT", "SIGHUP")
_SURE = (
    click.option("--yes", is_flag=True, help="Do not ask. Without it a terminal is needed to say yes at."),
    click.option("--json", "as_json", is_flag=True, help="JSON: schema, outcomes with their evidence."),
)


def _signal(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """``KILL``, ``SIGKILL``, ``sigkill`` or ``9``, as Celery spells it."""
    if given is None:
        return None
    name = f"SIG{given.upper().removeprefix('SIG')}"
    if given.isdigit() and int(given) in signal.valid_signals():
        name = signal.Signals(int(given)).name
    if name not in SIGNALS:
        raise click.BadParameter(f"one of {', '.join(SIGNALS)}")
    return name


def _wait(seconds: float) -> Callable[[Any], Any]:
    text = f"Seconds until the verdict must be there ({seconds:.0f})."
    return click.option("--wait", type=click.FloatRange(0.1, 3600), default=seconds, metavar="S", help=text)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--terminate", is_flag=True, help="Signal the process that runs it, too.")
@click.option("--signal", callback=_signal, metavar="NAME", help="Which one (TERM): USR1 is the soft limit's, KILL...")
@with_options(*WHERE, *_SURE)
@_wait(10.0)
@click.pass_context
def revoke(context: click.Context, /, ids: tuple[str, ...], **flags: Any) -> None:
    """Revoke tasks, and say what was seen of it: "revoked" is not "stopped".

    Exit code 0 with --terminate when every task is verified STOPPED; without it FLAGGED ONLY is enough: no worker
    that consumes its queue will begin it. 1 when not, 3 when it could not look.
    """

    def action(snapshot: Snapshot) -> AnyAction:
        from celerytop.model.action import Revoke
        from celerytop.targets import target_of

        name = flags["signal"] or ("SIGTERM" if flags["terminate"] else None)
        targets = tuple(target_of(snapshot, task_id) for task_id in dict.fromkeys(ids))
        return Revoke(targets=targets, signal=name, wait=flags["wait"])

    _act(context, flags, action)


@click.command()
@click.argument("queue")
@click.option("--filter", "only", default="", metavar="TEXT", help="Only messages that match, e.g. 'name:app.pay'.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this task's message; may be given again.")
@click.option("--dump", type=click.Path(), help="The file what is removed is kept in; else one in the state directory.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@with_options(*WHERE, *_SURE)
@_wait(60.0)
@click.pass_context
def purge(context: click.Context, /, queue: str, only: str, ids: tuple[str, ...], **flags: Any) -> None:
    """Remove messages from a queue; a dump of them is written first, and `celerytop restore` puts them back."""

    def action(snapshot: Snapshot) -> AnyAction:
        from celerytop.model.action import PurgeQueue

        kept = {"dump": flags["dump"], "dry_run": flags["dry_run"], "wait": flags["wait"]}
        return PurgeQueue(queue=queue, filter=only, task_ids=ids, **kept)

    if flags["dry_run"]:
        flags["yes"] = True  # nothing to agree to
    _act(context, flags, action)


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.option("--to", metavar="QUEUE", help="Into this queue, not the one they came from.")
@click.option("--force", is_flag=True, help="Also what is in doubt; where nothing is, all of it once more.")
@with_options(*WHERE, *_SURE)
@_wait(60.0)
@click.pass_context
def restore(context: click.Context, /, path: str, **flags: Any) -> None:
    """Put the messages of a dump back, byte for byte, in their order."""

    def action(snapshot: Snapshot) -> AnyAction:
        from celerytop.model.action import RestoreDump

        return RestoreDump(path=path, to=flags["to"], force=flags["force"], wait=flags["wait"])

    _act(context, flags, action)


def _act(context: click.Context, flags: dict[str, Any], make: Callable[[Snapshot], AnyAction]) -> None:
    """Look, ask, do, watch, print; ends with the exit code that the verdicts deserve."""
    with sentences():
        flags = merged(context, flags)
        from celerytop.build import build
        from celerytop.model.command import Attend
        from celerytop.report.outcomes import as_asked, as_json, as_text
        from celerytop.watch import perform, watching

        options, settings = options_of(flags)
        monitor = build(options, settings, attention=Attend(page="all"))
        with watching(monitor) as snapshot:
            action = make(snapshot)
            _agree(snapshot, action, bool(flags["yes"]) or options.read_only or options.passive, options.app)
            report = perform(monitor, action)
        out(as_json(report) if flags["as_json"] else as_text(report))
        if options.read_only or options.passive:
            _by_hand(report, snapshot, options.app)
        raise SystemExit(0 if as_asked(report) else 1)


def _agree(snapshot: Snapshot, action: AnyAction, yes: bool, app: str | None) -> None:
    """Show what it does, and go on only with a yes.

    Raises:
        UsageError: nobody is there to say it.
        SystemExit: 1, they say no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("nobody can be asked here: say --yes")
    from celerytop.consequences import judge

    judged = judge(snapshot, action)
    for said in (*judged.subjects, *judged.does):
        click.echo(f"  {said.text}", err=True)
    if judged.sends:
        click.echo(f"  sends: {judged.sends}", err=True)
    if judged.barred:
        click.echo(f"celerytop: {judged.barred}", err=True)
    if judged.typed:
        name = click.prompt(f"{judged.title}. Type {judged.typed} to go on", err=True, default="", show_default=False)
        agreed = name == judged.typed
    else:
        agreed = click.confirm(f"{judged.title}. Go on?", err=True)
    if not agreed:
        click.echo("celerytop: nothing was sent.", err=True)
        raise SystemExit(1)


def _by_hand(report: ActionReport, snapshot: Snapshot, app: str | None) -> None:
    """Nothing was sent: the command that would have done it."""
    from celerytop.equivalent import equivalent
    from celerytop.model.worker import ALIVE

    there = tuple(worker.nodename for worker in snapshot.workers.values() if worker.state == ALIVE)
    told = equivalent(report.action, snapshot.cluster, app, there)
    for line in (*told.commands, *((told.note,) if told.note else ())):
        click.echo(line, err=True)

"""Performs actions: guard, audit, do, watch, audit again. What the monitor calls its Performer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from celerytop.actions.audit import Audit, AuditError
from celerytop.actions.deed import Deed, Doer
from celerytop.actions.doers import DOERS
from celerytop.actions.link import Link
from celerytop.errors import CelerytopError, bug
from celerytop.model.action import AnyAction
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import REFUSED, UNKNOWN, ActionReport
from celerytop.model.snapshot import Snapshot

READ_ONLY = "Nothing was sent: celerytop is read-only here."
UNCOUNTED = (
    "Nothing was counted: celerytop is read-only here, and to walk a whole queue it would open the connection that "
    "actions use. The queue's page shows how many wait, a sample by task name, and on Redis its messages page by page."
)


class Actor:
    """Satisfies ``monitor.acting.Performer``. Opens no connection before an action begins."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        cluster: str,
        allowed: bool,
        audit: Audit | None = None,
        open_link: Callable[[BrokerSettings], Link] | None = None,
    ) -> None:
        """Connect to nothing.

        Args:
            settings: of the broker.
            cluster: its name, for the audit file.
            allowed: ``False`` in read-only and passive mode: every action is refused.
            audit: ``None``: the file in the state directory.
            open_link: ``None``: by the broker's transport.
        """
        self._settings = settings
        self._allowed = allowed
        self._audit = audit or Audit(cluster)
        self._open = open_link or open_link_of

    def perform(self, number: int, action: AnyAction, see: Callable[[], Snapshot]) -> Iterator[ActionReport]:
        """Do it, and tell what is seen; the last report is settled. Errors become verdicts."""
        deed = Deed(number, action, see, self._settings, lambda: self._open(self._settings))
        if not self._allowed:
            yield _refused(deed, UNCOUNTED if getattr(action, "dry_run", False) else READ_ONLY)
            return
        try:
            line = self._audit.before(number, action)
        except AuditError as error:
            yield _refused(deed, f"Nothing was sent: what cannot be audited is not done. {error}")
            return
        deed.know(audit_line=line)
        deed.say("audit", f"line {line} of {self._audit.path}")
        if told := self._audit.cut_off():
            deed.say("audit", told)
        yield deed.report
        yield from self._do(deed, DOERS[type(action)])

    def _do(self, deed: Deed, doer: Doer) -> Iterator[ActionReport]:
        try:
            for _ in doer(deed):
                yield deed.report
        except CelerytopError as error:
            _give_up(deed, str(error))
        except Exception as error:  # the audit file shall have its second line whatever happens
            _give_up(deed, f"celerytop has a bug here: {bug(error)}")
        finally:
            deed.close()
            self._note(deed)
        yield deed.report

    def _note(self, deed: Deed) -> None:
        deed.finish()
        try:
            self._audit.after(deed.report)
        except AuditError as error:
            deed.say("audit", f"its outcome is not in the audit file: {error}")


def open_link_of(settings: BrokerSettings) -> Link:
    """Connect, as the broker wants it; its library is imported only now.

    Raises:
        BrokerError: no server lets us in.
    """
    if settings.address.transport == "redis":
        from celerytop.actions.redis.link import RedisLink

        return RedisLink(settings)
    from celerytop.actions.rabbitmq.link import RabbitLink

    return RabbitLink(settings)


def _refused(deed: Deed, sentence: str) -> ActionReport:
    deed.settle_rest(REFUSED, sentence)
    return deed.finish()


def _give_up(deed: Deed, sentence: str) -> None:
    """Whoever has no verdict gets one: nothing was sent, or what became of it cannot be seen."""
    if deed.sent:
        deed.settle_rest(UNKNOWN, f"It was sent; what became of it cannot be seen. {sentence}")
    else:
        deed.settle_rest(REFUSED, f"Nothing was sent. {sentence}")

"""Filter and sort rows: one grammar for the screen's ``/`` and for ``--filter``. Pure.

::

    app.pay                       a word: part of the id, name, worker, queue or arguments
    state:STARTED  name:pay       a field: part of it, upper and lower case alike
    ~^app\\.(pay|mail)  name:~pay$  a regular expression
    runtime:>30  age:5m..1h       a number: > >= < <= = or a range; units s m h d, k M G
    !state:SUCCESS  "two words"   not; quotes keep spaces

Terms are separated by spaces and all of them must hold. A row whose value is not known matches no number.
"""

from __future__ import annotations

from celerytop.select.grammar import Filter, parse
from celerytop.select.order import ordered
from celerytop.select.terms import FilterError, Held, Row, Texts
from celerytop.select.views import view_of, views

__all__ = ["Filter", "FilterError", "Held", "Row", "Texts", "ordered", "parse", "view_of", "views"]

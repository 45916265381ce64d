"""What an action would do, said before it is done: to these tasks, these workers, these messages. Pure.

Only what a Snapshot shows is said; the rest is said to be not known. It is asked again with each new picture, so that
a box that stands open tells the truth of now.
"""

from __future__ import annotations

from celerytop.consequences.judge import judge
from celerytop.consequences.said import MANY, Judgement, Said
from celerytop.consequences.subjects import still

__all__ = ["MANY", "Judgement", "Said", "judge", "still"]

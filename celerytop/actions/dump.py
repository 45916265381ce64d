"""The file that holds messages before they are removed: JSON lines, 0600, on disk before anything is taken out.

The first line says whose messages they are; then one line a message, with its bytes (base64) and their SHA-256. What
is appended later tells what became of each: taken out, moved, or taken by a faster worker; and which were put back.
What a broker would not remember is announced before it is done, so that a kill leaves doubt about one step at most.
A message without such a line may still be in the queue, so it is not put back unasked: it could run twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import uuid
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from celerytop.actions.audit import state_dir, sync_folder
from celerytop.errors import CelerytopError
from celerytop.model.text import clean

MAGIC, VERSION = "celerytop-dump", 1
FOLDER = "dumps"
UNSURE = "."


class DumpError(CelerytopError):
    """The file cannot be written, or is no dump, or has been changed."""


class Head(msgspec.Struct, frozen=True, tag="dump", tag_field="type", omit_defaults=False):
    """Whose messages these are."""

    id: str
    transport: str
    broker: str
    """Its URL without password."""
    queue: str
    made_at: float
    magic: str = MAGIC
    version: int = VERSION
    server: str | None = None
    """Redis' run_id: changes with each start."""
    cluster: str = ""
    filter: str = ""
    to: str | None = None
    """They were moved there."""


class Kept(msgspec.Struct, frozen=True, tag="message", tag_field="type", gc=False):
    """One message."""

    n: int
    """0, 1, 2...: in the order of the file."""
    raw: bytes
    sha256: str
    step: int = 0
    index: int = 0
    """Redis: where it lay in its list, counted from the end that runs last."""
    passed: int = 0
    """Messages of that list before it that were not meant."""
    properties: bytes | None = None
    """RabbitMQ's property list, as on the wire."""
    tag: int = 0
    """Of the connection that dumped it; no use later."""
    task_id: str | None = None
    name: str | None = None


class Fate(msgspec.Struct, frozen=True, tag="fate", tag_field="type", gc=False):
    """What became of message ``first``, the one after it in direction ``by``, and so on: one letter each."""

    first: int
    by: int
    was: str
    at: float = 0.0


class Restored(msgspec.Struct, frozen=True, tag="restored", tag_field="type"):
    """These numbers were put back."""

    numbers: tuple[int, ...]
    to: str
    at: float


class Restoring(msgspec.Struct, frozen=True, tag="restoring", tag_field="type"):
    """These numbers are about to be put back; ``off``: they certainly were not."""

    numbers: tuple[int, ...]
    at: float
    off: bool = False


Line = Head | Kept | Fate | Restoring | Restored
_line: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def digest(raw: bytes, properties: bytes | None = None) -> str:
    """SHA-256 of a message; RabbitMQ's properties belong to it."""
    return hashlib.sha256(raw if properties is None else raw + properties).hexdigest()


def default_path(queue: str, at: str, dump_id: str) -> Path:
    """In the state directory; the name tells queue and moment."""
    name = re.sub(r"[^\w.-]+", "_", queue)[:60]
    return state_dir() / FOLDER / f"{name}-{at}-{dump_id[:8]}.jsonl"


class Dump:
    """An open dump: made anew, or read to be put back. Nobody else may use it meanwhile."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.head: Head | None = None
        self._file = file
        self._size = 0
        self._offsets = array("Q")
        self._lengths = array("Q")
        self.fates = bytearray()
        """One letter a message."""
        self.restored: dict[int, float] = {}
        """Number -> when it was put back."""
        self.begun: dict[int, float] = {}
        """Number -> when it was about to be put back; nothing here says whether it was."""
        self.torn = False
        """Its last line was not whole, and is cut off."""
        self._waiting: list[bytes] = []

    # ------------------------------------------------------------------------------------------------ making
    @classmethod
    def make(cls, path: Path, head: Head) -> Self:
        """Create the file.

        Raises:
            DumpError: it is there already, or cannot be written.
        """
        with _sentence(path, "written"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            made = cls(path, os.open(path, flags, 0o600))
            try:
                os.fchmod(made._file, 0o600)
                fcntl.flock(made._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                made.head = head
                made._append(msgspec.json.encode(head))
                made.sync()
                sync_folder(path.parent)
            except BaseException:
                made.close()
                raise
            return made

    def add(
        self,
        raw: bytes,
        *,
        step: int,
        index: int,
        passed: int,
        properties: bytes | None,
        tag: int,
        task_id: str | None,
        name: str | None,
    ) -> None:
        """One more message; on disk after ``sync``."""
        n, sum_ = len(self._offsets), digest(raw, properties)
        line = msgspec.json.encode(Kept(n, raw, sum_, step, index, passed, properties, tag, task_id, name))
        self._offsets.append(self._size)
        self._lengths.append(len(line))
        self.fates.append(ord(UNSURE))
        with _sentence(self.path, "written"):
            self._append(line)

    def sync(self) -> None:
        """What was added is on disk when this returns.

        Raises:
            DumpError: it is not.
        """
        with _sentence(self.path, "written"):
            self._flush()
            os.fsync(self._file)

    def note_fates(self, first: int, by: int, was: str, at: float) -> None:
        """What became of some of them; on disk when this returns."""
        for count, letter in enumerate(was):
            self.fates[first + by * count] = ord(letter)
        with _sentence(self.path, "written"):
            self._append(msgspec.json.encode(Fate(first, by, was, at)))
        self.sync()

    def note_restoring(self, numbers: tuple[int, ...], at: float, *, off: bool = False) -> None:
        """These are about to be put back, or (``off``) certainly were not; on disk when this returns."""
        self._restoring(numbers, at, off)
        with _sentence(self.path, "written"):
            self._append(msgspec.json.encode(Restoring(numbers, at, off)))
        self.sync()

    def _restoring(self, numbers: tuple[int, ...], at: float, off: bool) -> None:
        for n in numbers:
            if off:
                self.begun.pop(n, None)
            else:
                self.begun[n] = at

    def _restored(self, numbers: tuple[int, ...], at: float) -> None:
        self._restoring(numbers, at, off=True)
        self.restored.update(dict.fromkeys(numbers, at))

    def note_restored(self, numbers: tuple[int, ...], to: str, at: float) -> None:
        """These were put back; on disk when this returns."""
        self._restored(numbers, at)
        with _sentence(self.path, "written"):
            self._append(msgspec.json.encode(Restored(numbers, to, at)))
        self.sync()

    # ------------------------------------------------------------------------------------------------ reading
    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a dump through and check every message.

        Raises:
            DumpError: it is none, it was changed, or another celerytop uses it.
        """
        with _sentence(path, "opened"):
            opened = cls(path, os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
            try:
                try:
                    fcntl.flock(opened._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise DumpError(f"The dump {clean(str(path), 300)} is in use by another celerytop.") from None
                opened._read()
            except BaseException:
                opened.close()
                raise
            return opened

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, n: int) -> Kept:
        """A message, from the disk: what is removed is what the file really holds.

        Raises:
            DumpError: the file was changed.
        """
        with _sentence(self.path, "read"):
            self._flush()
            found = _decoded(os.pread(self._file, self._lengths[n], self._offsets[n]))
        if not isinstance(found, Kept) or found.n != n or digest(found.raw, found.properties) != found.sha256:
            raise DumpError(f"The dump {clean(str(self.path), 300)} was changed: message {n} is not what it was.")
        return found

    def size_of(self, n: int) -> int:
        """Bytes of its line: somewhat more than the message."""
        return self._lengths[n]

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _read(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise DumpError(f"{clean(str(self.path), 300)} is no file.")
        with os.fdopen(os.dup(self._file), "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    self.torn = True
                    break
                self._take(line)
                self._size += len(line)
        if self.head is None:  # then it is somebody else's file, and stays as it is
            raise DumpError(f"{clean(str(self.path), 300)} is no dump of celerytop's.")
        if self.torn:  # whoever wrote it was killed: nothing of that line was removed
            os.ftruncate(self._file, self._size)

    def _take(self, line: bytes) -> None:
        found = _decoded(line)
        if self.head is None:
            self._begin(found)
        elif isinstance(found, Kept) and found.n == len(self) and digest(found.raw, found.properties) == found.sha256:
            self._offsets.append(self._size)
            self._lengths.append(len(line) - 1)
            self.fates.append(ord(UNSURE))
        elif isinstance(found, Fate) and self._is_of_these(found):
            for count, letter in enumerate(found.was):
                self.fates[found.first + found.by * count] = ord(letter)
        elif isinstance(found, Restored) and all(0 <= n < len(self) for n in found.numbers):
            self._restored(found.numbers, found.at)
        elif isinstance(found, Restoring) and all(0 <= n < len(self) for n in found.numbers):
            self._restoring(found.numbers, found.at, found.off)
        else:
            raise DumpError(f"The dump {clean(str(self.path), 300)} was changed at message {len(self)}.")

    def _is_of_these(self, fate: Fate) -> bool:
        last = fate.first + fate.by * (len(fate.was) - 1)
        return abs(fate.by) == 1 and 0 <= fate.first < len(self) and 0 <= last < len(self) and fate.was.isascii()

    def _begin(self, found: Line | None) -> None:
        if not (isinstance(found, Head) and found.magic == MAGIC):
            raise DumpError(f"{clean(str(self.path), 300)} is no dump of celerytop's.")
        if found.version != VERSION:
            raise DumpError(f"{clean(str(self.path), 300)} is of version {found.version}; {VERSION} is known.")
        self.head = found

    def _append(self, line: bytes) -> None:
        self._waiting.append(line + b"\n")
        self._size += len(line) + 1
        if sum(map(len, self._waiting)) > 1 << 20 or len(self._waiting) > 200:
            self._flush()

    def _flush(self) -> None:
        content, self._waiting = memoryview(b"".join(self._waiting)), []
        while content:
            content = content[os.write(self._file, content) :]


def new_id() -> str:
    """Of a dump."""
    return uuid.uuid4().hex


def _decoded(line: bytes) -> Line | None:
    try:
        return _line.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def _sentence(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DumpError(f"The dump {clean(str(path), 300)} cannot be {verb} ({why}).") from error

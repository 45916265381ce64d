"""The host probe on real workers: prefork, threads, gevent; frozen, leaking, gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from celerytop.model.host import Host, Process, same_host
from celerytop.model.observation import HostMeasured
from celerytop.sources import host as module
from celerytop.sources.base import Interest
from celerytop.sources.host import BEGINNING, HostLane, HostProbe
from tests.rig import RedisServer, Worker, send, wait_until

pytestmark = pytest.mark.worker


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture(scope="module")
def prefork(server: RedisServer) -> Iterator[Worker]:
    with Worker(server.url(db=1), concurrency=2) as worker:
        yield worker


def look(probe: HostProbe) -> Host:
    (observation,) = probe.poll()
    assert isinstance(observation, HostMeasured)
    return observation.host


def of_role(host: Host, role: str) -> list[Process]:
    return [process for process in host.processes if process.role == role]


def probe_of(worker: Worker) -> HostProbe:
    return HostProbe(only_pids=[worker.pid, *(child.pid for child in worker.children())])


def test_a_prefork_worker_and_its_children(prefork: Worker) -> None:
    probe = probe_of(prefork)
    host = look(probe)
    (main,), children = of_role(host, "main"), of_role(host, "child")
    real = psutil.Process(prefork.pid)
    assert [process.pid for process in children] == sorted(child.pid for child in real.children())
    assert len(children) == 2 and not of_role(host, "descendant")
    assert (main.pid, main.nodename, main.children) == (prefork.pid, prefork.nodename, 2)
    assert (main.created_at, main.ppid, main.main_pid) == (real.create_time(), real.ppid(), main.pid)
    assert all(
        (child.main_pid, child.ppid, child.nodename) == (main.pid, main.pid, main.nodename) for child in children
    )
    for process in host.processes:
        assert process.rss and process.threads and process.fds and process.status and process.command
        assert process.cpu_percent is None and process.cpu_time is not None and process.rss_growth is None
    assert "tests.rig.app" in (main.command or "")
    wait_until(lambda: all(process.cpu_percent is not None for process in look(probe).processes), message="CPU")


def test_the_machine(prefork: Worker) -> None:
    probe = probe_of(prefork)
    began = time.time()
    first, second = look(probe), None
    assert first.cpu_percent is None
    second = wait_until(lambda: (host := look(probe)).cpu_percent is not None and host)
    assert isinstance(second, Host)
    assert 0 <= (second.cpu_percent or 0) <= 100
    assert (second.name, second.cpus) == (socket.gethostname(), psutil.cpu_count())
    assert second.load is not None and second.memory_total == psutil.virtual_memory().total
    assert began < first.measured_at < second.measured_at < time.time()


def test_a_busy_child_shows_its_cpu(prefork: Worker) -> None:
    """One second by the probe's clock: however slowly this machine gives it, half a second of CPU is 50 % then."""
    now = [0.0]
    probe = HostProbe([prefork.pid, *(child.pid for child in prefork.children())], lambda: now[0])
    before = {one.pid: one.cpu_time or 0.0 for one in look(probe).processes}
    result = send(prefork.broker_url, "rig.cpu", (0.5,))
    result.get(40)
    now[0] = 1.0
    after = look(probe).processes
    busiest = max(after, key=lambda one: one.cpu_percent or 0.0)
    assert busiest.role == "child" and (busiest.cpu_percent or 0.0) > 40
    for one in after:
        assert one.cpu_percent == pytest.approx(((one.cpu_time or 0.0) - before[one.pid]) * 100)


def test_nested_processes_are_descendants(prefork: Worker) -> None:
    probe = probe_of(prefork)
    nested = send(prefork.broker_url, "rig.subprocess", (600,))

    def sleeping() -> tuple[Process, list[int]] | None:
        """A fork carries its parent's command line until it has called exec."""
        host = look(probe)
        found = [one for one in of_role(host, "descendant") if one.command == "sleep 600"]
        return (found[0], [one.pid for one in host.processes]) if len(found) == 1 else None

    sleeper, pids = wait_until(sleeping, message="descendant") or pytest.fail("none")
    assert sleeper.main_pid == prefork.pid
    assert sleeper.ppid in pids and pids.index(sleeper.pid) == pids.index(sleeper.ppid) + 1
    os.kill(sleeper.pid, signal.SIGTERM)
    nested.get(40)
    wait_until(lambda: not of_role(look(probe), "descendant"), message="descendant gone")


def test_a_leaking_task_grows_its_child(prefork: Worker) -> None:
    probe = probe_of(prefork)
    before = {process.pid: process.rss or 0 for process in look(probe).processes}
    send(prefork.broker_url, "rig.leak", (80, 20.0))

    def grown() -> list[Process]:
        return [one for one in look(probe).processes if (one.rss or 0) > before.get(one.pid, 0) + 60_000_000]

    assert wait_until(grown, message="80 MB more")[0].role == "child"


def test_a_frozen_main_is_stopped(prefork: Worker) -> None:
    probe = probe_of(prefork)
    os.kill(prefork.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: of_role(look(probe), "main")[0].status == "stopped", message="stopped")
        assert "stopped" not in {child.status for child in of_role(look(probe), "child")}
    finally:
        os.kill(prefork.pid, signal.SIGCONT)
    wait_until(lambda: of_role(look(probe), "main")[0].status != "stopped")


def test_a_gone_child_and_a_gone_worker_disappear(server: RedisServer) -> None:
    with Worker(server.url(db=2), concurrency=2) as worker:
        probe = probe_of(worker)
        victim = of_role(look(probe), "child")[0]
        os.kill(victim.pid, signal.SIGKILL)

        def left() -> bool:
            return victim.pid not in {process.pid for process in look(probe).processes if process.status != "zombie"}

        wait_until(left, message="the child is gone")
        worker.kill()
        assert look(probe).processes == ()


@pytest.mark.parametrize("pool", ["threads", "gevent", "solo"])
def test_pools_without_processes_have_no_children(server: RedisServer, pool: str) -> None:
    with Worker(server.url(db=3), pool=pool, concurrency=2) as worker:
        probe = probe_of(worker)
        (main,) = look(probe).processes
        assert (main.role, main.nodename) == ("main", worker.nodename)
        if pool == "threads":
            send(worker.broker_url, "rig.nested_pool", (600, 2))
            found = wait_until(lambda: len(of_role(host := look(probe), "descendant")) >= 3 and host)
            assert isinstance(found, Host) and not of_role(found, "child")


def test_titles_of_setproctitle(tmp_path: Path) -> None:
    """One string over the whole argv, as setproctitle writes it: a main that has forked a titled child."""
    code = (
        "import signal, subprocess\n"
        "title = '[celeryd: st@h:ForkPoolWorker-1]'\n"
        f"subprocess.Popen([title], executable={sys.executable!r}, stdin=subprocess.PIPE)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"  # its input has ended
    )
    title = "[celeryd: st@h:MainProcess] -active- (-A fapp worker -n st@%h -b redis://:hunter2@h)"
    process = subprocess.Popen(
        [title], executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"exec({code!r})\n".encode())
        process.stdin.close()
        assert process.stdout.readline() == b"up\n"
        below = psutil.Process(process.pid).children()
        # in the moment after exec a process still has no words, or those of the one it was forked from
        wait_until(
            lambda: {" ".join(one.cmdline()) for one in below} == {"[celeryd: st@h:ForkPoolWorker-1]", "sleep 600"}
        )
        host = look(HostProbe(only_pids=[process.pid, *(one.pid for one in below)]))
        assert [(one.role, one.nodename) for one in of_role(host, "main")] == [("main", "st@h")]
        assert [child.command for child in of_role(host, "child")] == ["[celeryd: st@h:ForkPoolWorker-1]"]
        assert [one.command for one in of_role(host, "descendant")] == ["sleep 600"]
        assert "hunter2" not in repr(host)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_embedded_worker_counts_once_it_is_named(server: RedisServer, tmp_path: Path) -> None:
    script = tmp_path / "embedded.py"
    script.write_text(
        "from celery import Celery\n"
        f"app = Celery('x', broker={server.url(db=4)!r})\n"
        "app.worker_main(['worker', '-P', 'prefork', '-c', '1', '-n', 'inside@%h', '-l', 'INFO'])\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=log,
            stderr=log,
            env={**os.environ, "C_FORCE_ROOT": "1"},
            start_new_session=True,
        )
    try:
        wait_until(lambda: "ready." in (tmp_path / "log").read_text(), 90, "embedded worker")
        probe = HostProbe(only_pids=[process.pid, *(one.pid for one in psutil.Process(process.pid).children())])
        assert look(probe).processes == ()
        probe.attend(Interest(workers=("inside@elsewhere",), pids=(process.pid,)))
        assert look(probe).processes == ()
        probe.attend(Interest(workers=(f"inside@{socket.gethostname()}",), pids=(process.pid,)))
        host = look(probe)
        assert [(one.role, one.nodename) for one in host.processes] == [("main", None), ("child", None)]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_what_may_not_be_seen_is_none_and_said(prefork: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "num_fds", denied)
    monkeypatch.setattr(psutil.Process, "num_threads", denied)
    host = look(probe_of(prefork))
    assert all((one.fds, one.threads) == (None, None) and one.rss for one in host.processes)
    assert host.note is not None and host.note.startswith("3 worker processes belong to other users")


def test_growth_needs_a_minute() -> None:
    past = module._Past()
    assert [past.growth(at, 1000 + int(at) * 10) for at in (0.0, 10.0, 59.0)] == [None, None, None]
    assert past.growth(61.0, 1610) == pytest.approx(10.0)
    assert past.growth(70.0, None) is None


def test_never_reads_an_environment(prefork: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "environ", lambda self: pytest.fail("it read an environment"))
    with looked_into() as files:
        look(probe_of(prefork))
    assert files and not [name for name in files if "environ" in name]


@contextmanager
def looked_into() -> Iterator[list[str]]:
    """Files and folders of /proc that are opened meanwhile: nearly all that a look costs."""
    files: list[str] = []
    watching = [True]  # an audit hook can never be taken away

    def note(event: str, args: tuple[object, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir") and str(args[0]).startswith("/proc"):
            files.append(str(args[0]))

    sys.addaudithook(note)
    try:
        yield files
    finally:
        watching.clear()


def test_a_look_at_all_processes_opens_two_files_of_each_at_most() -> None:
    probe = HostProbe()  # all workers of the machine, as in life
    look(probe)
    probe._scan_at = float("-inf")
    with looked_into() as files:
        look(probe)
    opened = Counter(name.split("/")[2] for name in files)
    assert {opened[str(pid)] for pid in (1, os.getpid(), os.getppid())} <= {1, 2}


def test_opens_few_files(prefork: Worker) -> None:
    probe = probe_of(prefork)
    look(probe)  # looks through all processes
    opened: list[str] = []
    watching = [True]  # an audit hook can never be taken away
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" and watching else None)
    host = look(probe)
    watching.clear()
    of_processes = [name for name in opened if name.removeprefix("/proc/").partition("/")[0].isdigit()]
    threads = sum(process.threads or 0 for process in host.processes)
    # stat, status, cmdline and wchan of each, and what each thread has begun: twice for a main, which may have none
    assert len(host.processes) == 3 and len(of_processes) <= 4 * len(host.processes) + 2 * threads, of_processes
    assert len(opened) - len(of_processes) <= 6, opened


def test_the_lane_has_one_probe_and_no_connection() -> None:
    lane = HostLane()
    lane.connect()
    assert [probe.name for probe in lane.probes] == ["host"] and lane.name == "host"
    lane.close()


@pytest.mark.parametrize(
    ("name", "here", "same"),
    [("db-7", "db-7", True), ("DB-7.lan", "db-7", True), ("a.b", "a.c", False), ("a", "b", False), ("", "a", False)],
)
def test_same_host(name: str, here: str, same: bool) -> None:
    assert same_host(name, here) is same


def test_connections_are_known_while_the_broker_s_page_is_open(server: RedisServer, prefork: Worker) -> None:
    probe = probe_of(prefork)
    probe.attend(Interest(page="queues"))
    assert any(process.sockets for process in look(probe).processes), "at first, to know whose workers these are"
    probe._began -= 2 * BEGINNING
    assert {process.sockets for process in look(probe).processes} == {None}
    probe.attend(Interest(page="broker"))

    def joined() -> bool:
        """A worker opens most of its connections after it has said that it is ready."""
        probe._sockets_at = float("-inf")
        [main] = of_role(look(probe), "main")
        listed = {client["addr"] for client in server.client().client_list()}
        return len(listed.intersection(main.sockets or ())) >= 3

    wait_until(joined, message="three connections")

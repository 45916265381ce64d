"""Secrets are sown wherever a cluster has them; celerytop prints, draws and says everything, and not one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from celerytop.options import Options, load
from tests.rig import RedisServer, Terminal, Worker, free_port, wait_until
from tests.rig.send import send
from tests.written import written

pytestmark = pytest.mark.timeout(180)

_PLACES = ("url", "failover", "query", "sentinel", "option", "broker", "custom", "argument", "token", "raised")
_MORE = ("management", "environment")
SOWN = {name: f"s0wn{number:02d}{name}" for number, name in enumerate(_PLACES + _MORE)}
CARD = "4111111111111111"


def leaked(*outputs: str | bytes) -> list[str]:
    """Names of the secrets that can be read in what was put out."""
    whole = "\n".join(out if isinstance(out, str) else out.decode("utf-8", "replace") for out in outputs)
    return [name for name, secret in {**SOWN, "card": CARD}.items() if secret in whole or quote(secret) in whole]


def run(*words: str, code: int | None = 0, **environ: str) -> str:
    """All that a command writes; it must end with ``code``, and not with a traceback."""
    env = {**os.environ, "SOWN": SOWN["environment"], **environ}
    done = subprocess.run(
        [sys.executable, "-m", "celerytop", *words],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False, env=env,
    )  # fmt: skip
    written = done.stdout + done.stderr
    assert code is None or done.returncode == code, written
    assert "Traceback" not in written
    return written


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[RedisServer, Worker]]:
    """A worker with secrets in its settings, which has run tasks with secrets in their arguments and errors."""
    conf = {
        "s3_secret_access_key": SOWN["custom"],
        "custom_url": f"amqp://u:{SOWN['broker']}@h//;amqp://u2:{SOWN['broker']}@h2//",
        "mongodb_backend_settings": {"password": SOWN["custom"], "host": f"mongodb://u:{SOWN['custom']}@h"},
        "broker_transport_options": {
            "sentinel_kwargs": {"password": SOWN["sentinel"]}, "client_secret": SOWN["option"],
        },
    }  # fmt: skip
    with RedisServer(password=SOWN["url"]) as server:
        url = server.url()
        backend = f"redis://:{SOWN['url']}@127.0.0.1:{server.port}/1?password={SOWN['url']}"
        with Worker(url, result_backend=backend, conf=conf) as worker:
            kwargs = {"password": SOWN["argument"], "auth": {"token": [SOWN["token"]]}, "card": CARD, "n": CARD}
            send(url, "rig.echo", (f"token={SOWN['token']}", "x" * 900), kwargs)
            send(url, "rig.fail", (f"cannot open amqp://u:{SOWN['raised']}@h// with password={SOWN['raised']}",))
            send(url, "rig.sleep", (300, {"password": SOWN["argument"]}))
            send(url, "rig.echo", (), {"password": SOWN["argument"] + "x" * 2000, "card_number": CARD}, queue="nobody")
            wait_until(lambda: "rig says" in worker.log or "cannot open" in worker.log, 30, "the failure")
            yield server, worker


def test_what_is_printed(cluster: tuple[RedisServer, Worker]) -> None:
    server, worker = cluster
    url = server.url()
    found = run("-b", url, "--management-url", f"http://u:{SOWN['management']}@h:15672", "once", "--json")
    assert worker.nodename in found and "holds a password" in found
    text = run("--batch", "-n", "2", "-d", "0.2", CELERYTOP_BROKER=url)
    assert worker.nodename in text
    assert not leaked(found, text, run("--help"), run("once", "--help"))


def test_what_is_said_of_mistakes(tmp_path: Path) -> None:
    with RedisServer(password="another") as server:
        wrong = f"redis://:{SOWN['url']}@127.0.0.1:{server.port}/0"
        dead = f"redis://:{SOWN['url']}@127.0.0.1:{free_port()}/0"
        rabbit = f"amqp://u:{SOWN['url']}@127.0.0.1:{free_port()}//;amqp://u2:{SOWN['failover']}@127.0.0.1:1//"
        said = [run("once", "-b", url, code=3) for url in (wrong, dead, rabbit, f"{dead}?password={SOWN['query']}")]
    config = tmp_path / "celerytop" / "config.toml"
    config.parent.mkdir()
    for bad in (
        f"redis://:{SOWN['url']}/x@h:port/0", f"redsi://:{SOWN['url']}@h", f"redis://:{SOWN['url']}@h:99999999/x",
        f"sentinel://:{SOWN['url']}@h;sentinel://:{SOWN['failover']}@h2", f"redis://[{SOWN['url']}@h",
        f"amqp://u:{SOWN['url']}@h//?ssl_cert_reqs=x&password={SOWN['query']}", f"u:{SOWN['url']}@h",
    ):  # fmt: skip
        said += [run("once", "-b", bad, code=3), run("--batch", code=3, CELERYTOP_BROKER=bad), run(bad, code=2)]
        said += [run("once", "--management-url", bad, "-b", dead, code=3), run("once", "--page", bad, code=2)]
        config.write_text(f'default = "x"\n[clusters.x]\nbroker = "{bad}"\nsentinel_password = "{SOWN["sentinel"]}"\n')
        said.append(run("once", code=3, XDG_CONFIG_HOME=str(tmp_path)))
    config.write_text(f'[clusters.x]\nbroker = ["{SOWN["url"]}"]\n')
    said.append(run("once", code=3, XDG_CONFIG_HOME=str(tmp_path)))
    config.write_text(f'[clusters.x]\nbroker = "redis://:{SOWN["url"]}@h\n')
    said.append(run("once", code=3, XDG_CONFIG_HOME=str(tmp_path)))
    assert not leaked(*said)


def test_a_bug_says_nothing_either() -> None:
    script = (
        "import celerytop.build as build, sys\n"
        "def broken(options, settings, **_): raise KeyError(f'{options!r} {settings!r}' + sys.argv[2])\n"
        "build.build = broken\n"
        "from celerytop.cli import main\n"
        "main()"
    )
    url = f"redis://:{SOWN['url']}@h/0"
    done = subprocess.run(
        [sys.executable, "-c", script, "-b", url, "once"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 70, done.stderr
    assert "celerytop has a bug and stopped: KeyError" in done.stderr and "Traceback" not in done.stderr
    assert not leaked(done.stdout, done.stderr)


def options() -> Options:
    url = f"redis://:{SOWN['url']}@h:1/0;redis://u2:{SOWN['failover']}@h:2/0?master_name=m&password={SOWN['query']}"
    management = f"http://u:{SOWN['management']}@h"
    return load({"broker": url, "management_url": management}, {"SOWN": SOWN["environment"]}, os.getcwd())


def test_options_and_tracebacks_hold_no_secret() -> None:
    found = options()
    try:
        raise ValueError(found)
    except ValueError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert not leaked(repr(found), str(found), f"{found}", "".join(frames.format()), " ".join(found.warnings))


def walk(screen: Terminal, *steps: tuple[str, str]) -> None:
    """Press a key, then wait for what it brings: Esc and the next key must not come as one."""
    for key, words in steps:
        screen.keys(key)
        screen.wait_for(words)


@pytest.mark.pty
def test_what_is_drawn(cluster: tuple[RedisServer, Worker]) -> None:
    server, _ = cluster
    env = {"CELERYTOP_BROKER": server.url(), "SOWN": SOWN["environment"]}
    with Terminal([sys.executable, "-m", "celerytop"], 180, 50, env=env) as screen:
        screen.wait_for("nobody")
        send(server.url(), "rig.fail", (f"cannot open redis://:{SOWN['raised']}@h",))
        send(server.url(), "rig.echo", (), {"password": [SOWN["argument"]]})
        walk(
            screen,
            ("1", "no consumer"),
            ("home", "QUEUE"),
            ("enter", "Queues >"),
            ("end", "rig.echo"),
            ("escape", "sort READY"),
        )
        walk(screen, ("2", "WORKER"), ("enter", "Workers >"))
        screen.wait_for("s3_secret_access_key")
        walk(screen, ("end", "mongodb_backend_settings"), ("escape", "sort STATE"), ("3", "[f]ailed"))
        for view, words in (("f", "rig.fail"), ("a", "rig.sleep"), ("l", "rig.echo")):
            walk(
                screen,
                (view, words),
                ("enter", "Tasks >"),
                ("end", "esc back"),
                ("y", "Tasks >"),
                ("escape", "[f]ailed"),
            )
        for page in ("5", "6", "8"):
            screen.keys(page)
            screen.wait_for({"5": "where the memory", "6": "PROCESS", "8": "rig.fail"}[page])
        title = Path(f"/proc/{screen.pid}/cmdline").read_bytes()
        screen.keys("q")
        assert screen.wait_exit() == 0
        assert not leaked(written(screen), title)


def test_the_seeds_are_where_they_are_thought_to_be(cluster: tuple[RedisServer, Worker]) -> None:
    """Otherwise the tests above prove nothing."""
    server, _ = cluster
    client = server.client()
    message = json.loads(client.lindex("nobody", 0) or b"{}")
    assert SOWN["argument"] in message["headers"]["kwargsrepr"]

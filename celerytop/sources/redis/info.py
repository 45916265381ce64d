"""INFO's text, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from celerytop.model.broker import RedisBroker
from celerytop.model.text import clean

Info = Mapping[str, str]


def parse_info(reply: Any) -> Info:
    """Fields of all sections; empty when it was refused.

    >>> parse_info(b"# Server\\r\\nredis_version:7.0.15\\r\\ndb0:keys=3,expires=1\\r\\n")
    {'redis_version': '7.0.15', 'db0': 'keys=3,expires=1'}
    """
    if not isinstance(reply, bytes):
        return {}
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.partition(":")[::2] for line in lines if ":" in line and not line.startswith("#"))


def words(reply: Any) -> dict[str, str]:
    """CONFIG GET's names and values; a map in RESP3, flat in RESP2; empty when it was refused."""
    if isinstance(reply, dict):
        return {_text(name): _text(value) for name, value in reply.items()}
    if not isinstance(reply, list):
        return {}
    return {_text(name): _text(value) for name, value in zip(reply[::2], reply[1::2], strict=False)}


def size(text: str | None) -> int | None:
    """A whole number of INFO.

    >>> size("12"), size("12.5"), size(None)
    (12, None, None)
    """
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def real(text: str | None, factor: float = 1.0) -> float | None:
    """A number of INFO, times ``factor``."""
    try:
        return float(text) * factor if text is not None else None
    except ValueError:
        return None


def broker_from(info: Info, db: int, now: float, extra: Info) -> RedisBroker:
    """All that INFO tells.

    Args:
        info: its fields.
        db: whose keys are counted.
        now: when it was asked.
        extra: CONFIG GET of what this version's INFO lacks.
    """
    loading = info.get("loading") == "1" or info.get("async_loading") == "1"
    keyspace = dict(pair.partition("=")[::2] for pair in info.get(f"db{db}", "").split(","))
    valkey = info.get("valkey_version")
    cpu = (real(info.get("used_cpu_sys")), real(info.get("used_cpu_user")))
    stop_writes = extra.get("stop-writes-on-bgsave-error")
    last_save = size(info.get("rdb_last_save_time"))
    return msgspec.structs.replace(
        _figures(info, extra),
        measured_at=now,
        version=_word(valkey or info.get("redis_version")),
        server=(_word(info.get("server_name")) or ("valkey" if valkey else "redis")) if info else None,
        mode=_word(info.get("redis_mode") or info.get("server_mode")),
        role=_word(info.get("role")),
        run_id=_word(info.get("run_id")),
        uptime=real(info.get("uptime_in_seconds")),
        loading=loading,
        loading_done=real(info.get("loading_loaded_perc"), 0.01) if loading else None,
        cpu_seconds=None if cpu[0] is None or cpu[1] is None else cpu[0] + cpu[1],
        keys=size(keyspace.get("keys", "0")) if info else None,
        keys_with_ttl=size(keyspace.get("expires", "0")) if info else None,
        rdb_last_save_at=float(last_save) if last_save is not None else None,
        rdb_last_bgsave_status=_word(info.get("rdb_last_bgsave_status")),
        aof_enabled=info["aof_enabled"] == "1" if "aof_enabled" in info else None,
        aof_last_write_status=_word(info.get("aof_last_write_status")),
        stop_writes_on_bgsave_error=None if stop_writes is None else stop_writes == "yes",
        replicas=size(info.get("connected_slaves")),
        replication_lag=_lag(info),
        master_link_status=_word(info.get("master_link_status")),
        trouble=trouble(info, extra),
    )


def _figures(info: Info, extra: Info) -> RedisBroker:
    """Memory, clients and rates."""
    return RedisBroker(
        measured_at=0.0,
        used_memory=size(info.get("used_memory")),
        used_memory_peak=size(info.get("used_memory_peak")),
        used_memory_rss=size(info.get("used_memory_rss")),
        maxmemory=size(info.get("maxmemory", extra.get("maxmemory"))),
        maxmemory_policy=_word(info.get("maxmemory_policy", extra.get("maxmemory-policy"))),
        fragmentation=real(info.get("mem_fragmentation_ratio")),
        total_system_memory=size(info.get("total_system_memory")),
        clients=size(info.get("connected_clients")),
        blocked_clients=size(info.get("blocked_clients")),
        maxclients=size(info.get("maxclients", extra.get("maxclients"))),
        ops_rate=real(info.get("instantaneous_ops_per_sec")),
        input_rate=real(info.get("instantaneous_input_kbps"), 1024),
        output_rate=real(info.get("instantaneous_output_kbps"), 1024),
        evicted_keys=size(info.get("evicted_keys")),
        expired_keys=size(info.get("expired_keys")),
        rejected_connections=size(info.get("rejected_connections")),
    )


def trouble(info: Info, extra: Info) -> str | None:
    """What ails a server that answers, the worst first, in one sentence."""
    for ailment in (_loading, _full, _unsaved, _cut_off_replica):
        if sentence := ailment(info, extra):
            return sentence
    return None


def _loading(info: Info, extra: Info) -> str | None:
    if info.get("loading") != "1":
        return None
    done, left = real(info.get("loading_loaded_perc")), size(info.get("loading_eta_seconds"))
    told = [f"{done:.0f} %" if done is not None else "", f"{left} s left" if left is not None else ""]
    return "Redis is loading its data: " + (
        ", ".join(word for word in told if word) or "until then it refuses everything"
    )


def _full(info: Info, extra: Info) -> str | None:
    limit = size(info.get("maxmemory", extra.get("maxmemory"))) or 0
    used = (size(info.get("used_memory")) or 0) - (size(info.get("mem_not_counted_for_evict")) or 0)
    policy = info.get("maxmemory_policy", extra.get("maxmemory-policy"))
    if not limit or used < limit or policy != "noeviction":
        return None
    return (
        f"Redis is full: {used / 1e6:,.1f} of {limit / 1e6:,.1f} MB, and its policy is noeviction: "
        "nobody can send tasks or results, and workers cannot be asked"
    )


def _unsaved(info: Info, extra: Info) -> str | None:
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status", "ok") != "ok":
        return "Redis refuses writes: it could not write its append-only file; workers die of this"
    if info.get("rdb_last_bgsave_status", "ok") == "ok":
        return None
    stops = extra.get("stop-writes-on-bgsave-error")
    if stops == "no" or extra.get("save") == "":
        return None
    if stops is None:
        return "Redis' last save to disk failed: unless stop-writes-on-bgsave-error is off, it refuses writes"
    return "Redis refuses writes: its last save to disk failed; workers die of this"


def _cut_off_replica(info: Info, extra: Info) -> str | None:
    if info.get("role") == "slave" and info.get("master_link_status") == "down":
        return "this Redis is a replica that has lost its master"
    return None


def _lag(info: Info) -> float | None:
    """Seconds behind: of a replica, since its master spoke; of a master, its slowest replica."""
    if info.get("role") == "slave":
        return real(info.get("master_last_io_seconds_ago"))
    count = size(info.get("connected_slaves")) or 0
    rows = [dict(pair.partition("=")[::2] for pair in info.get(f"slave{n}", "").split(",")) for n in range(count)]
    lags = [lag for row in rows if (lag := real(row.get("lag"))) is not None]
    return max(lags, default=None)


def _word(text: str | None) -> str | None:
    return clean(text, 128) if text else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

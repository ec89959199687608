"""Prints how this machine and what it serves are doing, as one JSON object, in about a second. Changes nothing.

    status.py MOUNTPOINT DATABASE      DATABASE is Convex's

What could not be asked within 5 s is null. Sizes are in bytes, times in seconds since 1970:

    now, up, load, processors
    memory          total, available
    disks           for / and the volume: folder, total, available, percent (used, of what others than root may use)
    containers      of each: name, image, revision (of the image, or empty), state, health (or null), since, restarts, killed (for memory)
    postgres        version, connections, allowed, wal (null if the server is managed), databases and Convex's largest tables (name, bytes)
    backups         the records of the last point, base, objects and drill, as far as there are any; without backups, an empty object
    waiting         files of the write-ahead log that are not in the bucket yet
    certificate     start and end; null without a public name
    packages        how many updates there are
    reboot          since when an update needs one, or null
"""

import glob
import json
import os
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

REBOOT = "/run/reboot-required"
# As in lib/sql.sh.
MANAGED_SERVER = "/etc/convex-droplet/managed-server.conf"
SERVER = """SELECT json_build_object(
    'version', split_part(current_setting('server_version'), ' ', 1),
    'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL),
    'allowed', current_setting('max_connections')::int,
    'wal', %s,
    'databases', (SELECT json_agg(json_build_object('name', datname, 'bytes', pg_database_size(oid)) ORDER BY datname)
                  FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', 'defaultdb') AND has_database_privilege(oid, 'CONNECT')),
    'tables', (SELECT json_agg(largest) FROM (SELECT relname AS name, pg_total_relation_size(relid) AS bytes
               FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 3) AS largest))"""


def main():
    mountpoint, database = sys.argv[1:]
    parts = {
        "host": host,
        "disks": lambda: [disk(folder) for folder in dict.fromkeys(("/", mountpoint)) if os.path.ismount(folder)],
        "containers": containers,
        "postgres": lambda: postgres(database),
        "backups": lambda: backups(mountpoint),
        "waiting": lambda: len(glob.glob(mountpoint + "/postgresql/*/main/pg_wal/archive_status/*.ready")),
        "certificate": lambda: certificate(mountpoint + "/certificates/live/convex/fullchain.pem"),
        "packages": packages,
        "reboot": lambda: int(os.stat(REBOOT).st_mtime) if os.path.exists(REBOOT) else None,
    }
    with ThreadPoolExecutor() as pool:
        found = dict(zip(parts, pool.map(or_null, parts.values())))
    print(json.dumps({"now": int(time.time()), **(found.pop("host") or {}), **found}))


def or_null(part):
    try:
        return part()
    except (OSError, ValueError, LookupError, subprocess.SubprocessError):
        return None


def said(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=True, text=True, **options).stdout


def host():
    memory = dict(line.split(":") for line in open("/proc/meminfo"))
    return {
        "up": float(open("/proc/uptime").read().split()[0]),
        "load": os.getloadavg()[0],
        "processors": len(os.sched_getaffinity(0)),
        "memory": {name: int(memory[key].split()[0]) * 1024 for name, key in (("total", "MemTotal"), ("available", "MemAvailable"))},
    }


def disk(folder):
    disk = os.statvfs(folder)
    used, available = disk.f_blocks - disk.f_bfree, disk.f_bavail
    return {
        "folder": folder,
        "total": (used + available) * disk.f_frsize,
        "available": available * disk.f_frsize,
        "percent": 100 * used / (used + available),
    }


def containers():
    ids = said("docker", "ps", "--all", "--quiet").split()
    return [container(one) for one in json.loads(said("docker", "inspect", *ids))] if ids else []


def container(one):
    state, config = one["State"], one["Config"]
    return {
        "name": one["Name"].lstrip("/"),
        "image": config["Image"],
        "revision": (config["Labels"] or {}).get("org.opencontainers.image.revision", ""),
        "state": state["Status"],
        "health": (state.get("Health") or {}).get("Status"),
        "since": seconds(state["StartedAt"] if state["Running"] else state["FinishedAt"]),
        "restarts": one["RestartCount"],
        "killed": state["OOMKilled"],
    }


def seconds(time):
    # Docker's fractions have more digits than Python reads.
    return int(datetime.fromisoformat(time[:19] + "+00:00").timestamp())


def postgres(database):
    own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    where, wal, prefix = {}, "(SELECT sum(size) FROM pg_ls_waldir())", own
    if os.path.exists(MANAGED_SERVER):
        where, wal, prefix = {"PGSERVICEFILE": MANAGED_SERVER, "PGSERVICE": "managed", "PGCONNECT_TIMEOUT": "4"}, "NULL", []
    return json.loads(said(*prefix, "psql", "-qAtX", "-c", SERVER % wal, cwd="/", env={**os.environ, **where, "PGDATABASE": database}))


def backups(mountpoint):
    paths = {name: "%s/backups/%s.json" % (mountpoint, name) for name in ("point", "base", "objects", "drill")}
    return {name: json.load(open(path)) for name, path in paths.items() if os.path.exists(path)}


def certificate(path):
    if not os.path.exists(path):
        return None
    dates = dict(line.split("=", 1) for line in said("openssl", "x509", "-in", path, "-noout", "-dates").splitlines())
    return {"start": ssl.cert_time_to_seconds(dates["notBefore"]), "end": ssl.cert_time_to_seconds(dates["notAfter"])}


def packages():
    planned = said("apt-get", "--simulate", "--quiet=2", "-o", "Debug::NoLocking=true", "upgrade")
    return sum(line.startswith("Inst ") for line in planned.splitlines())


main()

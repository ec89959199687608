"""Chooses what a restore needs: the timeline, the backup, and the snapshot of the files. Used by beside.sh.

    target.py stanza OWN WANTED < info           prints the stanza
    target.py choose STANZA TO FOLDER STACK      prints name=value lines; FOLDER contains info, snapshots (JSON, as the tools print
                                                 them), and for each archive a folder of its name with archive (JSON) and
                                                 the timelines' history files; STACK is for messages
    target.py dump OWN WANTED TO STACK < snapshots   the same for the restore points of a managed database: also prints the stanza, and
                                                 a line dump=DATABASE SNAPSHOT for each dump
    target.py gaps STANZA FOLDER                 prints gaps in the write-ahead log since the oldest backup; FOLDER contains info and
                                                 archive, which lists all of it

The cluster is always restored to the timeline that the instance was on at the moment of the target. After an earlier restore, the
newest timeline does not contain what was undone, so a later restore has to be able to leave it. The time when a history file
was archived shows when its timeline began. A backup fits if the timeline contains it: it is on the timeline, or on one of
its ancestors before the branch.

A stanza that got the cluster of another one has an archive for each of them, in this order. Their timelines have the same numbers, so a
backup fits only if it is of the cluster that the instance had at the moment.

The files of a moment are in the first restore point after it, because files are only added. After a reset, copy or move-in, which replaces
all of them on the same timeline, a point has the time of that (swapped), and has no files of moments before it.
"""

import json
import math
import os
import re
import sys
import time
from collections import namedtuple
from datetime import datetime, timezone


def stop(text):
    print(text)
    sys.exit(1)


def utc(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def choose_stanza(own, wanted, with_backups):
    listed = ", ".join(with_backups) or "none"
    if wanted:
        if wanted not in with_backups:
            stop(f"stanza: {wanted} has no backup in the bucket, it should be one that has: {listed}. Name another one")
        return wanted
    elif own in with_backups:
        return own
    elif len(with_backups) == 1:
        return with_backups[0]
    elif with_backups:
        stop(f"stanza: is empty, and this volume has no backups of its own. Name the volume to restore from, one of: {listed}")
    else:
        stop("backups: the bucket contains none, so there is nothing to restore. See whether backupBucket names the right one")


def moment_of(point):
    return datetime.strptime(point, "convex-%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def moment_in(text, listed):
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", text):
        stop(f"to: is '{text}', it should be latest, the name of a restore point, or a moment such as 2026-11-26T18:00:00Z. {listed}")
    return moment.timestamp()


Point = namedtuple("Point", "moment name swapped snapshot")


def read(*path):
    with open(os.path.join(*path)) as opened:
        return json.load(opened)


def versions(stanza):
    """PostgreSQL's version of each cluster, by id. The droplet has the server of the last one's, and no other."""
    return {database["id"]: database["version"] for database in stanza["db"]}


class Cluster:
    """What one cluster has archived."""

    def __init__(self, archive, backups, folder):
        self.archive, self.id = archive["id"], archive["database"]["id"]
        self.backups = [backup for backup in backups if backup["database"]["id"] == self.id]
        # Each timeline's start, in seconds since 1970, and its ancestors with the position at which it left them.
        self.starts, self.ancestors = {1: 0}, {1: {}}
        for file, entry in read(folder, self.archive, "archive").items():
            if re.fullmatch(r"[0-9A-F]{8}\.history", file):
                timeline = int(file[:8], 16)
                self.starts[timeline] = entry["time"]
                with open(os.path.join(folder, self.archive, file)) as opened:
                    lines = [line.split("\t") for line in opened if re.match(r"\d", line)]
                self.ancestors[timeline] = {int(line[0]): lsn(line[1]) for line in lines}
        # When it took the place of the one before: its first history is archived then, its first backup is made soon after.
        began = [start for start in self.starts.values() if start > 0] + [backup["timestamp"]["start"] for backup in self.backups]
        self.start = min(began, default=math.inf)

    def timeline_at(self, moment):
        return max(timeline for timeline, start in self.starts.items() if start <= moment)

    def contains(self, timeline, backup):
        other = int(backup["archive"]["start"][:8], 16)
        if other == timeline:
            return True
        left = self.ancestors.get(timeline, {}).get(other)
        return left is not None and lsn(backup["lsn"]["stop"]) <= left

    def backup_for(self, timeline, moment):
        fitting = [backup for backup in self.backups if not backup.get("error") and self.contains(timeline, backup)]
        fitting.sort(key=lambda backup: backup["timestamp"]["stop"])
        before = [backup for backup in fitting if backup["timestamp"]["stop"] < moment]
        # Both times are in whole seconds. One that ended in the same second may still have ended before.
        return (before or [backup for backup in fitting if backup["timestamp"]["stop"] == int(moment)] or [None])[-1]


class Repository:
    def __init__(self, name, folder, stack):
        self.listed = f"List all with: npm run backup -- --stack {stack}"
        self.stanza = next(stanza for stanza in read(folder, "info") if stanza["name"] == name)
        self.points = []
        for snapshot in read(folder, "snapshots"):
            tags = snapshot.get("tags") or []
            swapped = max((float(tag[8:]) for tag in tags if re.fullmatch(r"swapped=[\d.]+", tag)), default=0)
            # Of a time when the instance had a managed database.
            if "dumped" in tags:
                continue
            for tag in tags:
                if re.fullmatch(r"point=convex-\d{8}T\d{6}Z", tag):
                    self.points.append(Point(moment_of(tag[6:]), tag[6:], swapped, snapshot))
        self.points.sort(key=lambda point: point.moment)
        self.clusters = [Cluster(archive, self.stanza["backup"], folder) for archive in self.stanza["archive"]]
        self.clusters[0].start = 0

    def place_of(self, moment):
        """The cluster and the timeline that the instance was on."""
        cluster = [cluster for cluster in self.clusters if cluster.start <= moment][-1]
        return cluster, cluster.timeline_at(moment)

    def archives_of(self, cluster):
        """Also those of before another cluster took its place, and after it came back."""
        systems = {database["id"]: database["system-id"] for database in self.stanza["db"]}
        return [other.archive for other in self.clusters if systems[other.id] == systems[cluster.id]]

    def around(self, moment):
        before = [point.name for point in self.points if point.moment <= moment][-1:]
        after = [point.name for point in self.points if point.moment > moment][:1]
        return " and ".join(before + after)

    def choose(self, to):
        if not self.points:
            stop(f"backups: {self.stanza['name']} has no restore point with files yet. The first one is made minutes after the first backup")
        if to == "latest":
            kind, point = "name", self.points[-1]
            moment = point.moment
        elif to.startswith("convex-"):
            found = [point for point in self.points if point.name == to]
            if not found:
                stop(f"to: there is no restore point {to}, it should be an existing one. The newest is {self.points[-1].name}. {self.listed}")
            kind, point = "name", found[-1]
            moment = point.moment
        else:
            kind, moment = "time", moment_in(to, self.listed)
            place = self.place_of(moment)
            later = [point for point in self.points if point.moment >= moment and self.place_of(point.moment) == place]
            newest = self.points[-1].moment
            # By the clock of the droplet that asks, but also by that of the one that made the points.
            if moment > max(newest, time.time()):
                stop(f"to: {utc(moment)} is in the future, it should be at most {utc(newest)}, the newest restore point, or latest. {self.listed}")
            if not later or later[0].swapped > moment:
                stop(
                    f"to: {utc(moment)} is after the last restore point with the files of that time."
                    f" The nearest restore points are: {self.around(moment)}. {self.listed}"
                )
            point = later[0]
        cluster, timeline = self.place_of(moment)
        backup = cluster.backup_for(timeline, moment)
        if backup is None and not cluster.backups:
            stop(f"to: the cluster of {utc(moment)} has no backup yet, because it came from another volume. Wait until there is one. {self.listed}")
        if backup is None:
            first = min(entry["timestamp"]["stop"] for entry in cluster.backups)
            stop(f"to: {utc(moment)} is before the oldest backup, it should be after {utc(first)}. {self.listed}")
        version = versions(self.stanza)[backup["database"]["id"]]
        if version != self.stanza["db"][-1]["version"]:
            stop(
                f"to: {utc(moment)} is of PostgreSQL {version}, from which the data was migrated, it should be of {self.stanza['db'][-1]['version']}."
                f" For the way back to that version, see docs/upgrades.md. {self.listed}"
            )
        values = {
            "kind": kind,
            "to": point.name if kind == "name" else datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00"),
            "point": point.name,
            "moment": f"{moment:.6f}",
            "timeline": timeline,
            "archives": " ".join(self.archives_of(cluster)),
            "backup": backup["label"],
            "bytes": backup["info"]["size"],
            "version": version,
            "snapshot": point.snapshot["id"],
            "data": next(path for path in point.snapshot["paths"] if path.endswith("/data")),
        }
        for name, value in values.items():
            print(f"{name}={value}")


def choose_dump(own, wanted, to, stack):
    """Of a managed database there are only the points that were made, and no moments between them."""
    points, dumps = {}, {}
    for snapshot in json.load(sys.stdin):
        tags = snapshot.get("tags") or []
        of = [tag[3:] for tag in tags if tag.startswith("of=")]
        names = [tag[6:] for tag in tags if tag.startswith("point=")]
        if of:
            database = os.path.basename(snapshot["paths"][0]).removesuffix(".dump")
            dumps.setdefault((snapshot["hostname"], of[0]), {})[database] = snapshot["id"]
        elif "dumped" in tags and names:
            points.setdefault(snapshot["hostname"], {})[names[0]] = snapshot
    stanza = choose_stanza(own, wanted, sorted(points))
    names = sorted(points[stanza])
    name = names[-1] if to == "latest" else to
    if name not in names:
        stop(
            f"to: is '{to}', it should be latest or the name of a restore point: dumps of a managed database have no moments between them."
            f" The newest is {names[-1]}. List all with: npm run backup -- --stack {stack}"
        )
    snapshot = points[stanza][name]
    print(f"stanza={stanza}", f"point={name}", f"to={name}", f"moment={moment_of(name):.6f}", f"snapshot={snapshot['id']}", sep="\n")
    print(f"data={next(path for path in snapshot['paths'] if path.endswith('/data'))}")
    for database, dump in sorted(dumps.get((stanza, name), {}).items()):
        print(f"dump={database} {dump}")


def find_gaps(name, folder):
    """A restore follows the log from a backup on; what is missing before the oldest backup is not needed."""
    stanza = next(stanza for stanza in read(folder, "info") if stanza["name"] == name)
    files = read(folder, "archive")
    for archive in stanza["archive"]:
        if versions(stanza)[archive["database"]["id"]] != stanza["db"][-1]["version"]:
            continue
        backups = [backup for backup in stanza["backup"] if backup["database"]["id"] == archive["database"]["id"]]
        find_gaps_of(backups, [os.path.basename(path) for path in files if path.startswith(archive["id"] + "/")])


def find_gaps_of(backups, files):
    there = {}
    for file in files:
        if re.match(r"[0-9A-F]{24}(-|$)", file):
            there.setdefault(int(file[:8], 16), set()).add(number_of(file))
    for backup in backups:
        timeline = int(backup["archive"]["start"][:8], 16)
        there.setdefault(timeline, set())
        for edge in ("start", "stop"):
            if number_of(backup["archive"][edge]) not in there[timeline]:
                print(f"the write-ahead log of backup {backup['label']}: {backup['archive'][edge]} is missing in the bucket")
    first = min((number_of(backup["archive"]["start"]) for backup in backups), default=0)
    starts = {}
    for backup in backups:
        timeline = int(backup["archive"]["start"][:8], 16)
        starts[timeline] = max(starts.get(timeline, 0), number_of(backup["archive"]["start"]))
    for timeline, numbers in sorted(there.items()):
        needed = {number for number in numbers if number >= first}
        # Behind an older gap is a newer backup.
        missing = [number for number in range(min(needed, default=0), max(needed, default=-1))
                   if number not in needed and number > starts.get(timeline, 0)]
        if missing:
            begin, end = (f"{timeline:08X}{number >> 8:08X}{number & 255:08X}" for number in (missing[0], missing[-1]))
            print(f"the write-ahead log: {len(missing)} of the segments from {begin} to {end} are missing in the bucket, so moments after them are lost")


def number_of(segment):
    """Segments of the usual 16 MiB are numbered without a gap."""
    return int(segment[8:16], 16) * 256 + int(segment[16:24], 16)


if sys.argv[1] == "stanza":
    backed_up = [stanza["name"] for stanza in json.loads(sys.stdin.read(), strict=False) if stanza["backup"]]
    print(choose_stanza(sys.argv[2], sys.argv[3], backed_up))
elif sys.argv[1] == "dump":
    choose_dump(*sys.argv[2:])
elif sys.argv[1] == "gaps":
    find_gaps(sys.argv[2], sys.argv[3])
else:
    Repository(sys.argv[2], sys.argv[4], sys.argv[5]).choose(sys.argv[3])

"""Compares the stored files with their rows. Used by beside.sh.

    blobs.py FOLDER < rows      FOLDER contains the files; each row is a line of JSON, a document of _file_storage

Prints each problem on a line, at most 20, and on the last line the number of files and their size in bytes. A row's key, size and hash
have the form of the backend ({"$integer": …}, {"$bytes": …}) or plain values; the file's name may end in .blob.
"""

import base64
import hashlib
import json
import os
import sys

folder, problems, count, total = sys.argv[1], 0, 0, 0


def report(text):
    global problems
    problems += 1
    if problems <= 20:
        print(text)


def size_in(value):
    if isinstance(value, dict):
        return int.from_bytes(base64.b64decode(value["$integer"]), "little", signed=True)
    return int(value)


def hash_in(value):
    if isinstance(value, dict):
        return base64.b64decode(value["$bytes"])
    return bytes.fromhex(value) if len(value) == 64 else base64.b64decode(value)


for line in filter(str.strip, sys.stdin):
    row = json.loads(line)
    key = row.get("storageKey") or row["storageId"]
    count += 1
    paths = [os.path.join(folder, key + suffix) for suffix in (".blob", "")]
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        report(f"file {key}: is missing, the database has a row for it")
        continue
    size = os.path.getsize(path)
    if size != size_in(row["size"]):
        report(f"file {key}: has {size} bytes, its row says {size_in(row['size'])}")
        continue
    with open(path, "rb") as opened:
        found = hashlib.file_digest(opened, "sha256").digest()
    if found != hash_in(row["sha256"]):
        report(f"file {key}: has another content than when it was stored")
    total += size
if problems > 20:
    print(f"and {problems - 20} more files")
print(f"{count} {total}")

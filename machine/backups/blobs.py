"""Compares the stored files with their rows. Used by beside.sh.

    blobs.py FOLDER < rows         FOLDER contains the files; each row is a line of JSON, a document of _file_storage
    blobs.py FILE PREFIX < rows    they are in a bucket, below PREFIX; FILE has lines name=value: endpoint, region, bucket, key, key_secret

    blobs.py SNAPSHOT FOLDER PREFIX < rows   they are in a copy of the bucket, in restic's snapshot below FOLDER and PREFIX; the environment
                                             says where

Prints each problem on a line, at most 20, or all with --all as the first argument, and on the last line the number of files and their size
in bytes. In a bucket, it compares
names and sizes, in a folder the contents, too, and in a copy those of some. A row's key, size and hash have the form of the backend ({"$integer": …}, {"$bytes": …})
or plain values; the file's name may end in .blob.
"""

import base64
import hashlib
import hmac
import json
import os
import random
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

problems, count, total = 0, 0, 0
arguments = sys.argv[1:]
limit = 20
if arguments[0] == "--all":
    arguments, limit = arguments[1:], sys.maxsize


def report(text):
    global problems
    problems += 1
    if problems <= limit:
        print(text)


def size_in(value):
    if isinstance(value, dict):
        return int.from_bytes(base64.b64decode(value["$integer"]), "little", signed=True)
    return int(value)


def hash_in(value):
    if isinstance(value, dict):
        return base64.b64decode(value["$bytes"])
    return bytes.fromhex(value) if len(value) == 64 else base64.b64decode(value)


def in_folder(folder):
    """A function that says what is wrong with a row's file."""

    def check(key, size, row):
        paths = [os.path.join(folder, key + suffix) for suffix in (".blob", "")]
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is None:
            return "is missing, the database has a row for it"
        found = os.path.getsize(path)
        if found != size:
            return f"has {found} bytes, its row says {size}"
        with open(path, "rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        return None if content == hash_in(row["sha256"]) else "has another content than when it was stored"

    return check


def in_bucket(file, prefix):
    place = dict(line.rstrip("\n").split("=", 1) for line in open(file))
    try:
        found = {name.removeprefix(prefix): size for name, size in objects(place, prefix)}
    except urllib.error.HTTPError as error:
        sys.exit(f"bucket {place['bucket']} at {place['endpoint']} answers {error.code}: {error.read(300).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"bucket {place['bucket']} at {place['endpoint']} cannot be reached: {error}")

    def check(key, size, _row):
        if key not in found:
            return f"is missing in bucket {place['bucket']}, the database has a row for it"
        return None if found[key] == size else f"has {found[key]} bytes in bucket {place['bucket']}, its row says {size}"

    return check


# How many objects of a copy are read.
SAMPLE = 20


def in_copy(snapshot, folder, prefix):
    sizes, place = {}, f"{folder}/{prefix}"
    listing = subprocess.run(["restic", "ls", "--json", "--no-lock", snapshot, folder, "--recursive"], stdout=subprocess.PIPE, text=True)
    if listing.returncode != 0:
        sys.exit("the copy of the buckets cannot be listed, see above")
    for line in listing.stdout.splitlines():
        node = json.loads(line)
        if node.get("type") == "file" and node["path"].startswith(place):
            sizes[node["path"].removeprefix(place)] = node.get("size", 0)

    def check(key, size, row):
        if key not in sizes:
            return "is missing in the copy of the buckets, the database has a row for it"
        if sizes[key] != size:
            return f"has {sizes[key]} bytes in the copy of the buckets, its row says {size}"
        if row["sampled"] and content_of(place + key) != hash_in(row["sha256"]):
            return "cannot be read from the copy of the buckets, or has another content than when it was stored"
        return None

    def content_of(path):
        content = hashlib.sha256()
        with subprocess.Popen(["restic", "dump", "--no-lock", snapshot, path], stdout=subprocess.PIPE) as dump:
            while part := dump.stdout.read(2**20):
                content.update(part)
        return content.digest() if dump.returncode == 0 else None

    return check


def objects(place, prefix):
    """Name and size of each object below a prefix."""
    token = None
    while True:
        query = {"list-type": "2", "prefix": prefix, **({"continuation-token": token} if token else {})}
        page = ElementTree.fromstring(answer(place, query))
        space = page.tag[: page.tag.index("}") + 1] if page.tag.startswith("{") else ""
        for item in page.iter(space + "Contents"):
            yield item.findtext(space + "Key"), int(item.findtext(space + "Size"))
        token = page.findtext(space + "NextContinuationToken")
        if page.findtext(space + "IsTruncated") != "true" or not token:
            return


def answer(place, query):
    """The answer to a request that is signed by AWS's version 4."""
    host, path = urlsplit(place["endpoint"]).netloc, "/" + place["bucket"]
    search = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    empty = hashlib.sha256(b"").hexdigest()
    signed = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": moment}
    names = ";".join(signed)
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = "\n".join(["GET", path, search, headers, names, empty])
    scope = f"{moment[:8]}/{place['region']}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + place["key_secret"]).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = f"AWS4-HMAC-SHA256 Credential={place['key']}/{scope}, SignedHeaders={names}, Signature={signature}"
    asked = urllib.request.Request(f"{place['endpoint']}{path}?{search}", headers={**signed, "authorization": authorization})
    # As strict as curl and the backend, not more: newer versions of Python refuse some older authorities.
    trust = ssl.create_default_context()
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(asked, timeout=60, context=trust) as response:
        return response.read()


check = {1: in_folder, 2: in_bucket, 3: in_copy}[len(arguments)](*arguments)
lines = [line for line in sys.stdin if line.strip()]
sampled = set(random.sample(range(len(lines)), min(SAMPLE, len(lines))))
for index, line in enumerate(lines):
    row = {**json.loads(line), "sampled": index in sampled}
    key = row.get("storageKey") or row["storageId"]
    size = size_in(row["size"])
    count += 1
    problem = check(key, size, row)
    if problem is None:
        total += size
    else:
        report(f"file {key}: {problem}")
if problems > limit:
    print(f"and {problems - limit} more files")
print(f"{count} {total}")

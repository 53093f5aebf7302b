#!/usr/bin/env python3
"""Verify an Archon log with nothing but Python's standard library. See docs/audit-format.md, which this file follows.

    verify_chain.py vectors hash-v1.json         check this program against the published test vectors
    verify_chain.py export export.ndjson         check the chain of an export ("-" reads standard input)

It exits with 0 where everything is right, 1 where the chain is not, 2 where the input can't be read. It checks positions,
hashes and links. It does not check the signed checkpoint at the end of an export: without that, or a hash you kept
yourself, a chain that was rewritten as a whole, or cut at its end, looks right.
"""
import calendar
import hashlib
import json
import re
import struct
import sys
import time
import uuid


def genesis(tenant_id: str) -> bytes:
    """The prev_hash of position 1."""
    return hashlib.sha256(b"archon.genesis.v1\x00" + tenant_id.encode()).digest()


def frame(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def integer(value: int) -> bytes:
    return struct.pack(">q", value)


def parts(event: dict) -> list:
    """What is hashed, in order, by name. The values of event are int, str (text), uuid.UUID and bytes."""
    return [
        ("domain", b"archon.event.v1\x00"),
        ("tenant_id", frame(event["tenant_id"].encode())),
        ("position", integer(event["position"])),
        ("stream", frame(event["stream"].encode())),
        ("version", integer(event["version"])),
        ("event_id", frame(event["event_id"].bytes)),
        ("type", frame(event["type"].encode())),
        ("occurred_at", integer(event["occurred_at"])),
        ("command_id", frame(event["command_id"].bytes)),
        ("meta", frame(event["meta"])),
        ("data", frame(event["data"])),
        ("prev_hash", event["prev_hash"]),
    ]


def event_hash(event: dict) -> bytes:
    return hashlib.sha256(b"".join(part for _, part in parts(event))).digest()


def microseconds(timestamp: str) -> int:
    """RFC 3339 in UTC with microseconds, as an integer since 1970: floats would lose digits."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z", timestamp)
    if match is None:
        raise ValueError(f"not a time in UTC: {timestamp}")
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def from_export(line: dict) -> dict:
    """An event as it is hashed, from its line of an export."""
    return {
        "tenant_id": line["tenant_id"],
        "position": line["position"],
        "stream": line["stream"],
        "version": line["version"],
        "event_id": uuid.UUID(line["event_id"]),
        "type": line["type"],
        "occurred_at": microseconds(line["occurred_at"]),
        "command_id": uuid.UUID(line["command_id"]),
        "meta": line["meta"].encode(),
        "data": line["data"].encode(),
        "prev_hash": bytes.fromhex(line["prev_hash"]),
        "hash": bytes.fromhex(line["hash"]),
    }


class Broken(Exception):
    """The chain is not what it claims to be."""


class Chain:
    """Checks events one after the other."""

    def __init__(self):
        self.tenant_id = None
        self.position = 0
        self.hash = None
        self.occurred_at = None
        self.checked = 0

    def anchor(self, position: int, hash_: bytes):
        """Begin after a position whose hash is known from elsewhere."""
        self.position, self.hash = position, hash_

    def add(self, event: dict):
        if self.tenant_id is None:
            self.tenant_id = event["tenant_id"]
            if self.hash is None:
                self.hash = genesis(self.tenant_id)
        expected = self.position + 1
        if event["tenant_id"] != self.tenant_id:
            raise Broken(f"position {expected}: belongs to another tenant")
        if event["position"] != expected:
            raise Broken(f"position {expected}: missing, found {event['position']}")
        if event["prev_hash"] != self.hash:
            raise Broken(f"position {expected}: does not link to the event before it; that one or this one was changed")
        if event_hash(event) != event["hash"]:
            raise Broken(f"position {expected}: was changed, its hash is not that of its content")
        if self.occurred_at is not None and event["occurred_at"] < self.occurred_at:
            raise Broken(f"position {expected}: time goes back")
        self.position, self.hash, self.occurred_at = expected, event["hash"], event["occurred_at"]
        self.checked += 1


def check_export(lines) -> str:
    chain, checkpoint = Chain(), False
    for line in lines:
        if not line.strip():
            continue
        if checkpoint:
            raise Broken("something follows the checkpoint")
        entry = json.loads(line)
        if "anchor" in entry:
            if chain.checked:
                raise Broken("an anchor in the middle")
            chain.anchor(entry["anchor"]["position"], bytes.fromhex(entry["anchor"]["hash"]))
        elif "checkpoint" in entry:
            checkpoint = True
        else:
            chain.add(from_export(entry))
    if chain.hash is None:
        return "nothing to check"
    return f"ok: {chain.checked} events up to position {chain.position}, whose hash is {chain.hash.hex()}"


def check_vectors(vectors: dict) -> str:
    for vector in vectors["genesis"]:
        if genesis(vector["tenant_id"]).hex() != vector["hash"]:
            raise Broken(f"genesis of {vector['tenant_id']!r}")
    for vectors_of_chain in vectors["chains"]:
        chain = Chain()
        for vector in vectors_of_chain["events"]:
            event = from_export(vector["event"])
            for (name, value), expected in zip(parts(event), vector["parts"]):
                if [name, value.hex()] != expected:
                    raise Broken(f"position {event['position']}: {name} is {value.hex()}, the vector says {expected}")
            chain.add(event)
    return f"ok: {len(vectors['genesis'])} genesis hashes and {len(vectors['chains'])} chains"


def main(arguments: list) -> int:
    try:
        command, path = arguments
        check = {"vectors": lambda file: check_vectors(json.load(file)), "export": check_export}[command]
    except (ValueError, KeyError):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if path == "-":
            print(check(sys.stdin))
        else:
            with open(path, encoding="utf-8") as file:
                print(check(file))
    except Broken as reason:
        print(f"broken: {reason}")
        return 1
    except (OSError, ValueError, KeyError, TypeError) as reason:
        print(f"can't read {path}: {reason!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Verify an export of an Archon log with nothing but Python's standard library. See docs/audit-format.md, which this follows.

    verify_export.py EXPORT --key KEY [--key KEY]... [--since CHECKPOINT]...

EXPORT is a file, or "-" for standard input; KEY is "<origin>+<hash>+<key>"; CHECKPOINT is a file with an older checkpoint. It exits
with 0 where the file is sound, 1 where it was tampered with, 2 where it is incomplete, 3 where it was not asked properly.
"""
import base64
import calendar
import hashlib
import json
import re
import struct
import sys
import uuid

SOUND, TAMPERED, INCOMPLETE, USAGE = 0, 1, 2, 3
MAX_LINE = 6 * (4 << 20) + (64 << 10)


class Verdict(Exception):
    def __init__(self, code, reason, position=0):
        super().__init__(reason)
        self.code, self.position = code, position


class Malformed(Exception):
    """A line, or a note, that is none."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# ---- Ed25519 (RFC 8032), verification only ---------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def point(raw):
    number = int.from_bytes(raw, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, p):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, p)
        p = add(p, p)
        scalar >>= 1
    return result


def compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verifies(public, message, signature):
    a, s = point(public), int.from_bytes(signature[32:], "little")
    if a is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus_a = (P - a[0], a[1], a[2], P - a[3])
    return compress(add(multiply(s, BASE), multiply(k, minus_a))) == signature[:32]


# ---- Notes and checkpoints -------------------------------------------------------------------------------------------


class Key:
    def __init__(self, text):
        try:
            self.name, hash_, key = text.split("+", 2)
            raw = base64.b64decode(key, validate=True)
            self.id = bytes.fromhex(hash_)
        except ValueError:
            raise Malformed(f"{text!r} is not a key") from None
        self.public = raw[1:]
        named = self.name and " " not in self.name
        if not named or len(raw) != 33 or raw[0] != 1 or self.id != sha256(self.name.encode(), b"\n", raw)[:4]:
            raise Malformed(f"{text!r} is not a key")


class Checkpoint:
    """An opened note: its signature has been verified."""

    def __init__(self, note, keys):
        self.note = note
        if re.search(r"[\x00-\x09\x0b-\x1f]", note):
            raise Malformed("not a signed note")
        text, separator, signatures = note.rpartition("\n\n")
        if not separator or not signatures.endswith("\n"):
            raise Malformed("not a signed note")
        text += "\n"
        signed_by = []
        lines = signatures[:-1].split("\n")
        if len(lines) > 100:
            raise Malformed("not a signed note")
        for line in lines:
            match = re.fullmatch(r"— ([^ +]+) ([A-Za-z0-9+/=]+)", line)
            if match is None:
                raise Malformed("not a signed note")
            try:
                raw = base64.b64decode(match[2], validate=True)
            except ValueError:
                raise Malformed("not a signed note") from None
            if len(raw) < 5:
                raise Malformed("not a signed note")
            for key in keys:
                if (key.name, key.id) != (match[1], raw[:4]):
                    continue
                if not ed25519_verifies(key.public, text.encode(), raw[4:]):
                    raise Malformed(f"the signature of {key.name} does not verify")
                if base64.b64encode(raw).decode() != match[2]:
                    raise Malformed("not a signed note")
                signed_by.append(key.name)
                break
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) >= 1 << 63:
            raise Malformed("not a checkpoint")
        self.origin, self.size = lines[0], int(lines[1])
        try:
            self.root = base64.b64decode(lines[2], validate=True)
        except ValueError:
            raise Malformed("not a checkpoint") from None
        if len(self.root) != 32 or base64.b64encode(self.root).decode() != lines[2]:
            raise Malformed("not a checkpoint")
        if self.origin not in signed_by:
            raise Malformed(f"no given key of the name {self.origin!r} has signed it")
        parts = self.origin.split("/")
        self.tenant = parts[-2] if len(parts) >= 3 else ""


# ---- The tree --------------------------------------------------------------------------------------------------------


class Tree:
    def __init__(self, size=0, subtrees=()):
        if bin(size).count("1") != len(subtrees):
            raise Malformed(f"not the subtrees of {size} events")
        self.size, self.subtrees = size, list(subtrees)

    def add(self, event_hash):
        node, before = sha256(b"\x00", event_hash), self.size
        while before & 1:
            node = sha256(b"\x01", self.subtrees.pop(), node)
            before >>= 1
        self.subtrees.append(node)
        self.size += 1

    def root(self):
        if not self.subtrees:
            return sha256(b"")
        root = self.subtrees[-1]
        for left in reversed(self.subtrees[:-1]):
            root = sha256(b"\x01", left, root)
        return root


def consistent(old_size, old_root, new_size, new_root, proof):
    """RFC 9162, 2.1.4.2, for 0 < old_size < new_size."""
    proof = list(proof)
    if old_size & (old_size - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        return False
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\x01", c, fr), sha256(b"\x01", c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\x01", sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == new_root and sn == 0


# ---- Lines -----------------------------------------------------------------------------------------------------------

EVENT = ("tenant_id", "position", "stream", "version", "event_id", "type", "occurred_at", "command_id", "meta", "data",
         "prev_hash", "hash")


class Members(dict):
    """An object that remembers which of its names stood twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = {name for name in names if names.count(name) > 1} if len(self) < len(names) else set()


class OtherInteger(float):
    """Stands for an integer of another form, or of many digits, which is fine only where nobody looks at it."""


def refuse(_):
    raise ValueError("not JSON")


DECODER = json.JSONDecoder(object_pairs_hook=Members, parse_constant=refuse,
                           parse_int=lambda text: OtherInteger() if text == "-0" or len(text) > 20 else int(text))


def check_depth(value, depth=0):
    if depth > 64:
        raise Malformed("is nested too deeply")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_depth(inner, depth + 1)


def members(raw):
    try:
        text = raw.decode()
        entry = DECODER.decode(text)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(entry, ensure_ascii=False).encode()  # fails on half a pair
    except (ValueError, RecursionError) as reason:
        raise Malformed(f"is not JSON: {reason}") from None
    if not isinstance(entry, Members):
        raise Malformed("is not an object")
    check_depth(list(entry.values()), -1)
    known = set(entry) & {*EVENT, "anchor", "checkpoint", "consistency"}
    if entry.twice & known:
        raise Malformed("says something twice")
    return entry, known


def integer(value):
    if type(value) is not int or not -1 << 63 <= value < 1 << 63:
        raise Malformed("has something that is not an integer of 64 bits")
    return value


def string(value):
    if type(value) is not str:
        raise Malformed("has something that is not a string")
    return value


def hash_of(value):
    if not re.fullmatch(r"[0-9a-f]{64}", string(value)):
        raise Malformed("has something that is not a hash")
    return bytes.fromhex(value)


def hashes_of(value):
    if type(value) is not list or len(value) > 128:
        raise Malformed("has something that is not a list of hashes")
    return [hash_of(item) for item in value]


def uuid_of(value):
    if not re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", string(value)):
        raise Malformed("has something that is not a UUID")
    return uuid.UUID(value).bytes


def microseconds(value):
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{6})Z", string(value))
    if match is None:
        raise Malformed("has something that is not a time")
    year, month, day, hour, minute, second, micros = map(int, match.groups())
    days = calendar.monthrange(year, month)[1] if year and 1 <= month <= 12 else 0
    if not 1 <= day <= days or hour > 23 or minute > 59 or second > 59:
        raise Malformed("has a time that no calendar has")
    return calendar.timegm((year, month, day, hour, minute, second)) * 1_000_000 + micros


class Event:
    def __init__(self, entry):
        self.tenant = string(entry["tenant_id"])
        self.position, self.version = integer(entry["position"]), integer(entry["version"])
        self.stream, self.type = string(entry["stream"]), string(entry["type"])
        self.event_id, self.command_id = uuid_of(entry["event_id"]), uuid_of(entry["command_id"])
        self.occurred_at = microseconds(entry["occurred_at"])
        self.meta, self.data = string(entry["meta"]).encode(), string(entry["data"]).encode()
        self.prev_hash, self.hash = hash_of(entry["prev_hash"]), hash_of(entry["hash"])

    def hashed_with(self, position, prev_hash):
        def frame(value):
            return struct.pack(">I", len(value)) + value

        def number(value):
            return struct.pack(">q", value)

        return self.hash == sha256(
            b"archon.event.v1\x00", frame(self.tenant.encode()), number(position), frame(self.stream.encode()), number(self.version),
            frame(self.event_id), frame(self.type.encode()), number(self.occurred_at), frame(self.command_id), frame(self.meta),
            frame(self.data), prev_hash)


# ---- The verification ------------------------------------------------------------------------------------------------


class Verification:
    def __init__(self, keys, since):
        self.keys, self.since = keys, sorted(since, key=lambda c: c.size)
        self.tenant, self.seal, self.proof, self.fork, self.agreed = None, None, None, None, 0
        self.started, self.tree, self.begins = False, Tree(), True
        self.first = 1
        self.position, self.hash, self.prev_hash, self.at, self.real = 0, None, None, None, False
        self.waiting = False
        self.versions = {}
        self.older, self.passed = 0, []

    def line(self, raw, whole):
        try:
            if len(raw) > MAX_LINE:
                raise Malformed("is longer than any event")
            entry, known = members(raw)
            if known == set(EVENT):
                event = Event(entry)
            elif known == {"anchor"}:
                event = None
                anchor = entry["anchor"]
                if not isinstance(anchor, Members) or anchor.twice & {"position", "hash", "subtrees"}:
                    raise Malformed("has no anchor")
                if not {"position", "hash"} <= set(anchor) or integer(anchor["position"]) < 1:
                    raise Malformed("has no anchor")
                position, hash_ = anchor["position"], hash_of(anchor["hash"])
                subtrees = hashes_of(anchor["subtrees"]) if "subtrees" in anchor else None
            elif known - {"consistency"} == {"checkpoint"}:
                event = None
                note = string(entry["checkpoint"])
                proof = hashes_of(entry["consistency"]) if "consistency" in known else None
            else:
                raise Malformed("is neither an event, an anchor nor a checkpoint")
        except Malformed as reason:
            if not whole:
                raise Verdict(INCOMPLETE, f"the last line is cut, after position {self.position}") from None
            raise Verdict(TAMPERED, f"a line {reason}", self.position + 1) from None
        if self.seal is not None:
            raise Verdict(TAMPERED, "a line follows the checkpoint", self.position + 1)
        if event is not None:
            self.event(event)
        elif "checkpoint" in known:
            self.seal, self.proof = note, proof
        elif self.started:
            raise Verdict(TAMPERED, "an anchor in the middle", self.position + 1)
        else:
            self.started, self.begins, self.first = True, False, position + 1
            self.position, self.hash = position, hash_
            try:
                self.tree = None if subtrees is None else Tree(position, subtrees)
            except Malformed as reason:
                raise Verdict(TAMPERED, f"the anchor has {reason}", position) from None

    def event(self, event):
        self.started = True
        if self.tenant is None:
            self.tenant = event.tenant
            for older in self.since:
                if older.tenant != event.tenant:
                    raise Verdict(USAGE, f"the file is of {event.tenant!r}, an older checkpoint of {older.origin!r}")
            if self.begins:
                self.hash = sha256(b"archon.genesis.v1\x00", event.tenant.encode())
            self.compare()
        self.judge(event)
        want = self.versions.get(event.stream, 0) + 1
        if event.stream not in self.versions and not self.begins:
            want = event.version if event.version >= 1 else 1
        if event.version != want:
            raise Verdict(TAMPERED, f"version {event.version} comes where {want} should", event.position)
        self.versions[event.stream] = event.version
        self.position, self.hash, self.prev_hash, self.at, self.real = event.position, event.hash, event.prev_hash, event.occurred_at, True
        if self.tree is not None:
            self.tree.add(event.hash)
            self.compare()

    def judge(self, event):
        """Which position is the bad one? See "The chain" under "Verifying an export"."""
        bad = self.position + 1
        if event.tenant != self.tenant:
            raise Verdict(TAMPERED, "is another tenant's", bad)
        if event.position > bad:
            raise Verdict(TAMPERED, "is missing", bad - 2 if self.waiting else bad)
        if event.position == self.position and self.real:
            raise Verdict(TAMPERED, "stands twice", self.position)
        if event.position < bad:
            raise Verdict(TAMPERED, "is missing", bad)
        linked, right = event.prev_hash == self.hash, event.hashed_with(bad, event.prev_hash)
        if self.waiting:
            raise Verdict(TAMPERED, "was changed together with its hash", bad - 1 if right and not linked else bad - 2)
        if linked and not right:
            raise Verdict(TAMPERED, "was changed", bad)
        if linked:
            if self.at is not None and event.occurred_at < self.at:
                raise Verdict(TAMPERED, "time goes back", bad)
        elif right and self.real:
            self.waiting = True
        elif right or event.hashed_with(bad, self.hash):
            raise Verdict(TAMPERED, "was changed", bad)
        elif self.real and event.prev_hash == self.prev_hash and event.hashed_with(bad - 1, event.prev_hash):
            raise Verdict(TAMPERED, "was inserted", bad - 1)
        else:
            raise Verdict(TAMPERED, "was changed or misplaced", bad)

    def compare(self):
        """Holds the tree as it is against the older checkpoints of its size."""
        while self.tree is not None and self.since and self.since[0].size <= self.tree.size:
            older = self.since.pop(0)
            if older.size < self.tree.size:
                self.passed.append(older)
            elif older.root == self.tree.root():
                self.older, self.agreed = self.older + 1, older.size
            elif self.fork is None:
                self.fork = older

    def forked(self, *notes):
        raise Verdict(TAMPERED, "a fork:\n" + "\n".join([self.fork.note, *notes]), self.agreed + 1)

    def end(self):
        if self.waiting:
            raise Verdict(TAMPERED, "was changed together with its hash", self.position - 1)
        if self.seal is None and self.fork:
            self.forked()
        if self.seal is None:
            raise Verdict(INCOMPLETE, f"there is no checkpoint; the file ends after position {self.position}")
        if self.tenant is None:
            raise Verdict(INCOMPLETE, "there are no events")
        try:
            seal = Checkpoint(self.seal, self.keys)
        except Malformed as reason:
            raise Verdict(TAMPERED, f"the checkpoint does not count: {reason}") from None
        if seal.tenant != self.tenant:
            raise Verdict(TAMPERED, "the checkpoint is another tenant's")
        if self.fork:
            self.forked(seal.note)
        if seal.size < self.position:
            raise Verdict(INCOMPLETE, f"positions from {seal.size + 1} on are not sealed")
        if self.tree is None:
            raise Verdict(INCOMPLETE, "the anchor has no subtrees")
        if seal.size == self.position:
            if seal.root != self.tree.root():
                raise Verdict(TAMPERED, "the tree is not the one that was signed; something from here on was rewritten", self.agreed + 1)
        elif self.proof is None:
            raise Verdict(TAMPERED, "is missing", self.position + 1)
        elif not consistent(self.position, self.tree.root(), seal.size, seal.root, self.proof):
            raise Verdict(TAMPERED, "the events are not the beginning of the log that was signed", self.agreed + 1)
        for older in self.passed + self.since:
            if older.size > seal.size:
                raise Verdict(TAMPERED, "is missing:\n" + older.note + "\n" + seal.note, seal.size + 1)
            if older.size < seal.size:
                raise Verdict(INCOMPLETE, f"the older checkpoint of {older.size} events can't be held against the file")
            if older.root != seal.root:
                raise Verdict(TAMPERED, "a fork:\n" + older.note + "\n" + seal.note, self.agreed + 1)
            self.older += 1
        return seal


def verify(file, keys, since):
    verification = Verification(keys, since)
    for raw in file:
        whole = raw.endswith(b"\n")
        verification.line(raw[:-1] if whole else raw, whole)
    seal = verification.end()
    return (f"{verification.tenant}: sound, positions {verification.first} to {verification.position}; checkpoint {seal.origin} of {seal.size} events, "
            f"root {seal.root.hex()}; consistent with {verification.older} older checkpoints\n"
            "not proven: that what the events say is true or complete; what happened after the checkpoint; that nobody with the signing key rewrote "
            "the log after the newest older checkpoint that was given")


def main(arguments):
    path, keys, paths, since = None, [], [], []
    try:
        while arguments:
            argument = arguments.pop(0)
            if argument == "--key":
                keys.append(Key(arguments.pop(0)))
            elif argument == "--since":
                paths.append(arguments.pop(0))
            elif path is None and not argument.startswith("--"):
                path = argument
            else:
                raise Malformed(f"what is {argument}?")
        if path is None or not keys:
            raise Malformed("an export and a key are needed")
        for older in paths:
            with open(older, encoding="utf-8", newline="") as file:
                since.append(Checkpoint(file.read(), keys))
        if path == "-":
            print(verify(sys.stdin.buffer, keys, since))
        else:
            with open(path, "rb") as file:
                print(verify(file, keys, since))
    except Verdict as verdict:
        name = {TAMPERED: "TAMPERED", INCOMPLETE: "INCOMPLETE", USAGE: "usage"}[verdict.code]
        print(f"{name}: position {verdict.position}: {verdict}" if verdict.position else f"{name}: {verdict}")
        return verdict.code
    except (Malformed, OSError, IndexError, UnicodeDecodeError) as reason:
        print(f"{reason}\n{__doc__}", file=sys.stderr)
        return USAGE
    return SOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Writes hash-v1.json, the test vectors of docs/audit-format.md, from the second implementation in docs/examples."""
import datetime
import json
import pathlib
import re
import sys
import uuid

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "docs" / "examples"))
import verify_chain as v  # noqa: E402


def timestamp(micros: int) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
    return moment.isoformat(timespec="microseconds") + "Z"


def chain(name, tenant, events):
    prev, entries = v.genesis(tenant), []
    for position, (stream, version, type_, at, meta, data) in enumerate(events, start=1):
        event = {
            "tenant_id": tenant,
            "position": position,
            "stream": stream,
            "version": version,
            "event_id": uuid.UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + position),
            "type": type_,
            "occurred_at": at,
            "command_id": uuid.UUID(int=0x0190_0000_0000_7000_9000_0000_0000_0000 + (position + 1) // 2),
            "meta": meta.encode(),
            "data": data.encode(),
            "prev_hash": prev,
        }
        hash_ = v.event_hash(event)
        entries.append({
            "event": {
                "tenant_id": tenant, "position": position, "stream": stream, "version": version,
                "event_id": str(event["event_id"]), "type": type_, "occurred_at": timestamp(at),
                "command_id": str(event["command_id"]), "meta": meta, "data": data,
                "prev_hash": prev.hex(), "hash": hash_.hex(),
            },
            "parts": [[name, part.hex()] for name, part in v.parts(event)],
        })
        prev = hash_
    return {"name": name, "events": entries}


def main():
    at = 1_738_555_506_000_007  # 2025-02-03T04:05:06.000007Z
    meta = '{"actor":{"id":"u-1","type":"user"},"method":"POST","path":"/api/v1/router/providers","status":201}'
    vectors = {
        "format": "archon.event.v1",
        "genesis": [{"tenant_id": t, "hash": v.genesis(t).hex()} for t in ("acme", "a", "globex-eu_1", "0" * 63)],
        "chains": [
            chain("a chain as it is in life", "acme", [
                ("provider-01900000-0000-7000-8000-0000000000aa", 1, "provider.registered.v1", at, meta,
                 '{"name":"OpenAI \u2013 \u043f\u0440\u043e\u0434 \u9375 \U0001f511","base_url":"https://api.openai.com"}'),
                ("providername-5c0f4f6e-3b1e-5f0a-9d57-0c9c5d0d3f11", 1, "providername.claimed.v1", at, meta, "{}"),
                ("provider-01900000-0000-7000-8000-0000000000aa", 2, "provider.changed.v1", at + 1, "",
                 '{ "keeps" :\t"its white space",\n "and": 1, "and": 2 }'),
                ("provider-01900000-0000-7000-8000-0000000000aa", 9_007_199_254_740_993, "provider.changed.v1", at + 86_400_000_000, "", ""),
                ("\u00fcber-1", 9_223_372_036_854_775_807, "t.v1", 253_402_300_799_999_999, "{}", "\\u0000 \" \u2028"),
            ]),
            chain("the shortest names, before 1970", "a", [
                ("s", 1, "t", -1, "", ""),
                ("s", 2, "t", 0, "m", "d"),
            ]),
        ],
    }
    text = json.dumps(vectors, ensure_ascii=True, indent=1)
    print(re.sub(r'\[\s+("\w+"),\s+("[0-9a-f]*")\s+\]', r"[\1, \2]", text))  # a part a line


if __name__ == "__main__":
    main()

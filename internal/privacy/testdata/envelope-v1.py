#!/usr/bin/env python3
"""A second implementation of Archon's envelope, version 1, from its description alone; it wrote envelope-v1.json.

Run it to write the vectors to standard output. It needs the "cryptography" package for AES-GCM only; HKDF (RFC 5869)
and the JSON form are spelled out. Nonces are fixed here, as test vectors need; real ones are random.
"""
import base64
import hashlib
import hmac
import json
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAMESPACE = uuid.UUID("6f0a3c52-5d0b-4c4e-9b7a-2f1f0f5b8a71")
CONTEXT = b"archon.subject.v1"


def hkdf_sha256(key: bytes, info: bytes) -> bytes:
    """32 bytes of output without a salt: one extract step, one expand step."""
    pseudo_random_key = hmac.new(b"\x00" * 32, key, hashlib.sha256).digest()
    return hmac.new(pseudo_random_key, info + b"\x01", hashlib.sha256).digest()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_id(tenant: str, subject: str, generation: int) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{tenant}\x00{generation}\x00{subject}"))


def vector(name, tenant, subject, generation, key, nonce, plaintext):
    kid = key_id(tenant, subject, generation)
    enc = hkdf_sha256(key, CONTEXT + b".enc")
    commitment = hkdf_sha256(key, CONTEXT + b".commit")
    additional_data = CONTEXT + b"\x00" + tenant.encode() + b"\x00" + kid.encode()
    ciphertext = AESGCM(enc).encrypt(nonce, plaintext, additional_data)
    envelope = (
        '{"v":1,"kid":"%s","kc":"%s","n":"%s","ct":"%s"}'
        % (kid, base64url(commitment), base64url(nonce), base64url(ciphertext))
    )
    return {
        "name": name,
        "tenant": tenant,
        "subject": subject,
        "generation": generation,
        "key_hex": key.hex(),
        "nonce_hex": nonce.hex(),
        "plaintext_hex": plaintext.hex(),
        "enc_hex": enc.hex(),
        "additional_data_hex": additional_data.hex(),
        "envelope": envelope,
    }


def flip(text: str, member: str, position: int) -> str:
    """The same envelope with one bit of a member changed."""
    fields = json.loads(text)
    raw = bytearray(base64.urlsafe_b64decode(fields[member] + "=" * (-len(fields[member]) % 4)))
    raw[position] ^= 1
    fields[member] = base64url(bytes(raw))
    return json.dumps(fields, separators=(",", ":"))


def main():
    key = bytes(range(32))
    other = bytes(range(32, 64))
    client = json.dumps({"ip": "203.0.113.7", "user_agent": "curl/8.5.0"}, separators=(",", ":")).encode()
    valid = [
        vector("the client of a request", "acme", "user-1", 0, key, bytes(range(12)), client),
        vector("the same subject after an erasure", "acme", "user-1", 1, other, bytes(12), client),
        vector("another tenant", "globex", "user-1", 0, key, b"\xff" * 12, client),
        vector("nothing", "acme", "\u0438\u043c\u044f@example.org", 0, key, bytes(range(1, 13)), b""),
        vector("bytes that are not text", "a", "s", 12, other, bytes(range(2, 14)), bytes(range(256))),
    ]
    first = valid[0]["envelope"]
    tampered = [
        {"name": "a bit of kc", "tenant": "acme", "envelope": flip(first, "kc", 0)},
        {"name": "the last bit of kc", "tenant": "acme", "envelope": flip(first, "kc", 31)},
        {"name": "a bit of n", "tenant": "acme", "envelope": flip(first, "n", 11)},
        {"name": "a bit of ct", "tenant": "acme", "envelope": flip(first, "ct", 0)},
        {"name": "a bit of the tag", "tenant": "acme", "envelope": flip(first, "ct", -1)},
        {"name": "moved to another tenant", "tenant": "globex", "envelope": first},
        {
            "name": "moved to another key id",
            "tenant": "acme",
            "envelope": first.replace(valid[0]["envelope"][14:50], key_id("acme", "user-2", 0)),
        },
    ]
    malformed = [
        {"name": "another version", "envelope": first.replace('"v":1', '"v":2')},
        {"name": "another order", "envelope": json.dumps(dict(sorted(json.loads(first).items())), separators=(",", ":"))},
        {"name": "one more member", "envelope": first[:-1] + ',"x":1}'},
        {"name": "a member twice", "envelope": first.replace('"v":1,', '"v":1,"v":1,')},
        {"name": "a member in capitals", "envelope": first.replace('"kid"', '"KID"')},
        {"name": "a key id in capitals", "envelope": first.replace(first[14:50], first[14:50].upper())},
        {"name": "padding", "envelope": first[:-2] + '="}'},
        {"name": "the alphabet of base64", "envelope": json.dumps({**json.loads(first), "n": "/" * 16}, separators=(",", ":"))},
        {"name": "unused bits that are not zero", "envelope": first.replace('o","n"', 'p","n"')},
        {"name": "a short nonce", "envelope": json.dumps({**json.loads(first), "n": "AAECAwQFBgcICQo"}, separators=(",", ":"))},
        {"name": "no tag", "envelope": json.dumps({**json.loads(first), "ct": "AAAA"}, separators=(",", ":"))},
    ]
    print(
        json.dumps(
            {
                "format": "archon.subject.v1",
                "key_id_namespace": str(NAMESPACE),
                "commitment_note": "kc depends on the key alone",
                "valid": valid,
                "tampered_note": "each opens not with key_hex of the first valid vector, in the tenant given",
                "tampered": tampered,
                "malformed_note": "each is refused before any key is looked at",
                "malformed": malformed,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()

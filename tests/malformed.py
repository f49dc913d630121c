"""Requests that no good client sends, made by hand and by chance, and a client that sends them."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
# So long is waited for an answer; who sends half a request gets none.
_SILENCE_SECONDS = 0.4
# A closed connection with this option is reset rather than ended.
_RESET = struct.pack("ii", 1, 0)

GOOD_BODIES = [
    json.dumps(body).encode()
    for body in (
        {"texts": ["a wonderful film"], "top_k": 2},
        {"texts": ["the plot is clever", "the end is bad", ""]},
        {"texts": ["wörds 良い 😀 \0"], "top_k": 1},
    )
]


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes over a connection.

    Args:
        data: The bytes.
        requests: How many requests that is, or is meant to be.
        reset: Whether the client resets the connection as soon as it has sent them.
        pause: Seconds before each byte; 0 sends all at once.
    """

    data: bytes
    requests: int = 1
    reset: bool = False
    pause: float = 0.0


def post(
    body: bytes,
    path: str = "/predict",
    *,
    length: object = None,
    headers: Sequence[bytes] = (),
    kind: bytes = b"application/json",
) -> bytes:
    """A request as HTTP has it; closes the connection."""
    lines = [
        f"POST {path} HTTP/1.1".encode(),
        b"Host: a",
        b"Connection: close",
        b"Content-Type: " + kind,
        f"Content-Length: {len(body) if length is None else length}".encode(),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: bytes = b"/info", *headers: bytes, method: bytes = b"GET") -> bytes:
    head = [method + b" " + target + b" HTTP/1.1", b"Host: a", b"Connection: close", *headers]
    return b"\r\n".join(head) + b"\r\n\r\n"


def chunked(body: bytes, size: bytes | None = None, end: bytes = b"0\r\n\r\n") -> bytes:
    """A request whose body comes in chunks."""
    head = post(b"", headers=[b"Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
    return head + (size or b"%x" % len(body)) + b"\r\n" + body + b"\r\n" + end


def _json(texts: object, **others: object) -> bytes:
    return json.dumps({"texts": texts, **others}).encode()


_BODIES = [
    *(b"", b" ", b"\0", b"null", b"NaN", b"[]", b'"a"', b"{", b"{}", b'{"texts"', b"'texts'"),
    *(b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b'{"texts": ["a"],}', b'{"texts": ["a"]} {}'),
    *(b"[" * 50_000, b'{"texts":' * 10_000, b'{"texts": ' + b"[" * 500 + b"]" * 500 + b"}"),
    *(b'{"texts": ["\\ud800"]}', b'{"texts": ["\xed\xa0\x80"]}', b'{"texts": ["\\udc00\\ud800"]}'),
    *(b'{"texts": ["\\u0000"]}', b'{"texts": ["\0"]}', b'{"texts": ["\xc3"]}', b'{"texts": [\0]}'),
    *(b'{"texts": ["a"], "texts": [1]}', b'{"texts": ["a"], "top_k": 1e999}'),
    *(b'{"texts": ["a"], "top_k": ' + b"9" * 5_000 + b"}", b'{"\xff": 1}'),
    *(_json(texts) for texts in (None, 1, "a", {}, {"a": 1}, [None], [1], [[]], [["a"]], [{}])),
    *(_json([["a", "b"]]), _json(["a", ["a", "b"]]), _json([[["a"]]]), _json([True, 1.5])),
    *(_json(["a"], top_k=k) for k in (0, -1, 1.5, "1", None, [], 2**70, True)),
    *(_json([""] * 100_000), _json(["a" * 900_000]), _json(["a"], **{"x" * 50_000: 1})),
    *(_json(["\u202e\u200b\ufeff", "\U0010ffff" * 999, "\n" * 999, "a\u0300" * 400]),),
]
_KINDS = [b"", b"text/plain", b"application/json; charset=utf-16", b"a" * 5_000, b"\xff/\xfe"]
_HEADS = [
    *(get(b"/" + b"a" * 20_000), get(b"/" + b"a" * 70_000), get(b"/%00"), get(b"/%ff%fe?%zz=%")),
    *(get(b"//"), get(b"/../../etc/passwd"), get(b"*"), get(b"http://[::1"), get(b"/predict")),
    *(get(b"/info", b"X: " + b"a" * 40_000), get(b"/info", *[b"X: y"] * 5_000), get(b"/", b": ")),
    *(get(b"/info", b"X-Request-ID: " + one) for one in (b"", b"\xff", b"a" * 999, b'"', b"a\tb")),
    *(get(b"/info", b"Authorization: " + one) for one in (b"", b"Bearer", b"Bearer \xff", b"x")),
    *(get(b"/info", b"Host: b"), get(b"/info", b"Expect: 100-continue"), get(b"/info", b"TE: x")),
    *(get(method=one) for one in (b"PUT", b"BREW", b"CONNECT", b"OPTIONS", b"HEAD", b"TRACE")),
    *(get(b"/info", b"Upgrade: websocket", b"Connection: Upgrade"), get(b"/", b"Upgrade: h2c")),
    *(b"\0" * 99, b"\r\n" * 99, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0"),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET /\r\n\r\n", b"\xff"),
]
_LENGTHS = ["-1", "x", "1e3", "0x10", "9" * 40, 2**63, 2**31, "1, 1", "", "+5", 3]


def made_by_hand() -> list[Sent]:
    """A list of what is wrong in each way that somebody has thought of."""
    good = GOOD_BODIES[0]
    whole = post(good)
    data = [
        *(post(body) for body in _BODIES),
        *(post(body, "/explain") for body in _BODIES),
        *(post(good, kind=kind) for kind in _KINDS),
        *(post(good, length=length) for length in _LENGTHS),
        *(post(b" " * size) for size in (2**20 + 1, 3 * 2**20, 20 * 2**20)),
        *(chunked(good, size) for size in (None, b"-1", b"x", b"0", b"f" * 20, b"5;" + b"a" * 999)),
        *(chunked(good, end=b""), chunked(b" " * (2 * 2**20)), chunked(good, end=b"0\r\nA: b\r\n")),
        post(good, headers=[b"Transfer-Encoding: chunked"]),
        post(good, headers=[b"Content-Encoding: gzip"]),
        post(good, headers=[b"Content-Length: 2"]),
        *_HEADS,
    ]
    slow = [Sent(data, pause=0.05) for data in (whole, whole[:-1], get())]
    dropped = [Sent(whole[:size], reset=True) for size in (1, 20, 100, len(whole) - 1, len(whole))]
    return [*(Sent(one) for one in data), *slow, *dropped]


Mutation = Callable[[random.Random, bytes], Sent]


def _cut(chance: random.Random, good: bytes) -> Sent:
    return Sent(good[: chance.randrange(1, len(good))], reset=chance.random() < 0.8)


def _flip(chance: random.Random, good: bytes) -> Sent:
    data = bytearray(good)
    for _ in range(chance.choice((1, 2, 5, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return Sent(bytes(data))


def _stuff(chance: random.Random, good: bytes) -> Sent:
    place = chance.randrange(len(good))
    more = chance.choice((b"\0", b"\r\n", b"\xff\xfe", b'"', b"\\ud800", b"[" * 99, b": ", b" "))
    return Sent(good[:place] + more * chance.randrange(1, 30) + good[place:])


def _remove(chance: random.Random, good: bytes) -> Sent:
    place = chance.randrange(len(good))
    return Sent(good[:place] + good[place + chance.randrange(1, 20) :])


def _swap_lines(chance: random.Random, good: bytes) -> Sent:
    lines = good.split(b"\r\n")
    chance.shuffle(lines)
    return Sent(b"\r\n".join(lines))


def _wrong_length(chance: random.Random, good: bytes) -> Sent:
    some, many = chance.randrange(500), chance.getrandbits(70)
    length = chance.choice((b"0", b"-5", b"%d" % some, b"%d" % many))
    return Sent(re.sub(rb"(?<=Content-Length: )\d+", length, good))


def _noise_in_head(chance: random.Random, good: bytes) -> Sent:
    line = chance.randbytes(chance.randrange(1, 60))
    return Sent(good.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1))


def _noise(chance: random.Random, _good: bytes) -> Sent:
    return Sent(chance.randbytes(chance.randrange(1, 400)))


def _noise_in_body(chance: random.Random, _good: bytes) -> Sent:
    return Sent(post(chance.randbytes(chance.randrange(1, 400))))


def _in_chunks(chance: random.Random, _good: bytes) -> Sent:
    return _flip(chance, chunked(chance.choice(GOOD_BODIES)))


def _pipelined(chance: random.Random, good: bytes) -> Sent:
    kept = good.replace(b"Connection: close\r\n", b"")
    count = chance.randrange(2, 9)
    return Sent(kept * (count - 1) + _flip(chance, good).data, requests=count)


_MUTATIONS: Sequence[Mutation] = (
    *(_cut, _flip, _stuff, _remove, _swap_lines, _wrong_length),
    *(_noise_in_head, _noise, _noise_in_body, _in_chunks, _pipelined),
)


def made_by_chance(requests: int, seed: int) -> list[Sent]:
    """So many good requests, each spoilt in one of a dozen ways."""
    chance = random.Random(seed)
    made: list[Sent] = []
    count = 0
    while count < requests:
        path = chance.choice(("/predict", "/predict", "/predict", "/explain"))
        body = chance.choice(GOOD_BODIES) if path == "/predict" else b'{"text": "a clever plot"}'
        made.append(chance.choice(_MUTATIONS)(chance, post(body, path)))
        count += made[-1].requests
    return made


def send_all(address: tuple[str, int], sent: Iterable[Sent], connections: int) -> list[int]:
    """Sends all of it, each over a connection of its own; returns the statuses of all answers.

    Args:
        address: The service's.
        sent: What is sent.
        connections: How many are open at a time.
    """

    async def main() -> list[int]:
        room = asyncio.Semaphore(connections)

        async def one(what: Sent) -> list[int]:
            async with room:
                return await _send(address, what)

        return [status for found in await asyncio.gather(*map(one, sent)) for status in found]

    return asyncio.run(main())


async def _send(address: tuple[str, int], sent: Sent) -> list[int]:
    reader, writer = await asyncio.open_connection(*address)
    received = b""
    try:
        received = await _exchange(reader, writer, sent)
    except (ConnectionError, TimeoutError):
        pass  # The service may hang up on what is no request.
    finally:
        writer.transport.abort()
    return [int(status) for status in STATUS.findall(received)]


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent
) -> bytes:
    if sent.pause:
        for byte in sent.data:
            writer.write(bytes([byte]))
            await writer.drain()  # Tells when the service has hung up.
            await asyncio.sleep(sent.pause)
    writer.write(b"" if sent.pause else sent.data)
    await asyncio.wait_for(writer.drain(), 30)
    if sent.reset:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return b""
    received = b""
    while part := await asyncio.wait_for(_read(reader), 60):
        received += part
    return received


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What comes next; nothing after a silence, or at the end."""
    try:
        return await asyncio.wait_for(reader.read(2**16), _SILENCE_SECONDS)
    except TimeoutError:
        return b""

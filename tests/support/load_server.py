"""An HTTP server with predictable responses, in a separate process: the reference for load tests.

usage: load_server.py BEHAVIOUR BACKLOG PORT

    fixed:MS          responds to each request after MS milliseconds
    mixed:MS:SLOW_MS  as fixed, but every tenth response after SLOW_MS
    stall:MS:AT:FOR   as fixed, but stops completely for FOR seconds, AT seconds after the first request
    capacity:RPS      one request after another, RPS per second
    reset:EVERY       as fixed:0, but ends the connection of every EVERY-th request with a TCP reset
    error:EVERY       as fixed:0, but every EVERY-th response is a 500
    slow:MS           as fixed, but closes each connection after its response
    hang:MS:EVERY     as fixed, but never responds to every EVERY-th request
    silent:MS         as fixed, but closes each connection after its response without announcing it
    hints:MS          as fixed, but sends an interim response (103) at once

Prints its port. On SIGTERM it prints {"requests": N, "held_ms": [...], "answered_ns": [...]}: how long it held each
answered request, and the times of its responses on the monotonic clock.
"""

import asyncio
import json
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

import uvloop

BODY = b'{"status":"preview"}'


def response(status: bytes, more: bytes = b"Connection: keep-alive\r\n") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nContent-Type: application/json\r\n%s\r\n"
    return head % (status, len(BODY), more) + BODY


class Behaviour:
    def __init__(self, text: str) -> None:
        self.name, *numbers = text.split(":")
        self.numbers = [float(n) for n in numbers]
        self.requests = 0
        self.free_at = 0.0
        self.held_ms: list[float] = []
        self.answered_ns: list[int] = []

    def take(self, connection: "Connection") -> None:
        """Decide how to respond to one request."""
        self.requests += 1
        first, number = self.numbers[0], self.requests
        delay_s, data = first / 1000, response(b"200 OK")
        if self.name == "mixed" and number % 10 == 0:
            delay_s = self.numbers[1] / 1000
        elif self.name == "stall" and number == 1:
            asyncio.get_running_loop().call_later(self.numbers[1], time.sleep, self.numbers[2])
        elif self.name == "capacity":
            now = time.monotonic()
            self.free_at = max(now, self.free_at) + 1 / first
            delay_s = self.free_at - now
        elif self.name == "reset" and number % int(first) == 0:
            connection.reset()
            return
        elif self.name == "error" and number % int(first) == 0:
            data = response(b"500 Internal Server Error")
        if self.name in ("reset", "error"):
            delay_s = 0.0
        elif self.name == "hang" and number % int(self.numbers[1]) == 0:
            return
        elif self.name == "hints":
            connection.transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        if self.name == "slow":
            data = response(b"200 OK", b"Connection: close\r\n")
        connection.answer(data, delay_s)


class Connection(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b" HTTP/1.")):
            self.behaviour.take(self)

    def answer(self, data: bytes, delay_s: float) -> None:
        taken = time.perf_counter_ns()

        def write() -> None:
            if self.transport.is_closing():
                return
            now = time.perf_counter_ns()
            self.behaviour.answered_ns.append(now)
            self.behaviour.held_ms.append((now - taken) / 1e6)
            self.transport.write(data)
            if b"Connection: close" in data or self.behaviour.name == "silent":
                self.transport.close()

        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, write)
        else:
            write()

    def reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def main(text: str, backlog: int, port: int) -> None:
    behaviour = Behaviour(text)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(lambda: Connection(behaviour), "127.0.0.1", port, backlog=backlog)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    names = ("requests", "held_ms", "answered_ns")
    sys.stdout.write(json.dumps({name: getattr(behaviour, name) for name in names}))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

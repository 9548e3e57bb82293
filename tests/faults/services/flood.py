"""A service that prints numbered lines at RATE_MB_S until COUNT of them are written, then only answers."""

import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120  (this file is run as a program)
from web import Handler, Server


def flood(count: int, rate_bytes_s: float) -> None:
    began, sent = time.monotonic(), 0
    for first in range(0, count, 500):
        block = b"".join(b"line %09d %s\n" % (n, b"x" * (n % 180)) for n in range(first, min(first + 500, count)))
        os.write(1, block)
        sent += len(block)
        time.sleep(max(0.0, sent / rate_bytes_s - (time.monotonic() - began)))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    count, rate = int(os.environ["COUNT"]), float(os.environ["RATE_MB_S"]) * 1e6
    threading.Thread(target=flood, args=(count, rate), daemon=True).start()
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()

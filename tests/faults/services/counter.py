"""A worker that prints numbered lines: so many more for each line of the file TOLD, one number a line.

It writes through the descriptor that it was started with, like any program under a supervisor.
"""

import os
import signal
import time
from pathlib import Path


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    told, done, number = Path(os.environ["TOLD"]), 0, 0
    name = os.environ.get("NAME", "line")
    while True:
        orders = told.read_text().split() if told.exists() else []
        for count in map(int, orders[done:]):
            lines = (f"{name} {n:09} {'x' * (n % 90)}\n" for n in range(number, number + count))
            os.write(1, "".join(lines).encode())
            number += count
            done += 1
        time.sleep(0.01)


if __name__ == "__main__":
    main()

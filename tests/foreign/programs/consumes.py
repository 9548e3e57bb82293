"""Asks whether a worker consumes a queue: `python consumes.py PORT QUEUE` gives it a job and waits for the result."""

import sys
import time

import redis
from rq import Queue

WAITS_S = 1.0

port, name = sys.argv[1:]
queue = Queue(name, connection=redis.Redis(port=int(port), socket_timeout=2))
job = queue.enqueue("operator.add", 20, 22, result_ttl=5)
deadline = time.monotonic() + WAITS_S
while time.monotonic() < deadline:
    if job.get_status() == "finished":
        sys.exit(0 if job.return_value() == 42 else "the worker cannot add")
    time.sleep(0.02)
job.delete()
sys.exit(f"nobody took a job from the queue {name} within {WAITS_S:g} s")

"""A Celery application: one task that takes its time, and one that fails."""

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("mail", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True


@app.task
def send(path: str, seconds: float) -> None:
    """Begin a letter, and end it after a while."""
    letter = Path(path)
    letter.write_text("Dear")
    time.sleep(seconds)
    letter.write_text("Dear all")


@app.task
def bounce() -> None:
    """Fail."""
    raise ValueError("no such mailbox")

"""The entry of `toombos`, which is `python -m toombos_cli`."""

import gc
import os
import signal
import sys

from toombos_cli.cli.short_status import answer_prompt
from toombos_cli.cli.standard_streams import discard_stdout, open_closed_streams, refuse_stdout


def run() -> None:
    """Run the process's command line and end the process with its exit code."""
    open_closed_streams()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = answer_prompt(sys.argv[1:])
    if code is None:
        from toombos_cli.main import main

        code = main(sys.argv[1:])
    gc.freeze()  # skip the final collection, which would take a sixth of the run time
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = discard_stdout()
    except OSError as error:
        code = refuse_stdout(error)
    if code == 130:
        # After an interrupt inside exec(), which dataclasses call while modules load, CPython ends by the signal
        # although it was handled: the exit code would sometimes differ.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()

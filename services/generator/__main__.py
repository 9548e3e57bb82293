"""`python -m services.generator`: the content generator on HOST and PORT."""

import sys

from services.common.server import main
from services.generator.settings import GeneratorSettings


def build(settings: GeneratorSettings) -> object:
    # httpx imports its own command line if click and rich are there: 7 % of the CPU time of this start.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # Python's way of saying: not to be found
    from services.generator.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(GeneratorSettings, build))

"""`python -m services.generator`: the content generator on HOST and PORT."""

import sys

from services.common.server import main
from services.generator.settings import GeneratorSettings


def build(settings: GeneratorSettings) -> object:
    # httpx imports its own command line if click and rich are installed, which takes 7 % of the start's CPU time.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # None makes its import fail
    from services.generator.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(GeneratorSettings, build))

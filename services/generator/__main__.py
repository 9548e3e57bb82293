"""`python -m services.generator`: the content generator on HOST and PORT."""

import sys

from services.common.server import main
from services.generator.settings import GeneratorSettings


def build(settings: GeneratorSettings) -> object:
    # httpx's own command line, which it imports when click and rich are there: 0.1 s that no service needs.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # Python's way of saying: not to be found
    from services.generator.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(GeneratorSettings, build))

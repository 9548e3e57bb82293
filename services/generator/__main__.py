"""`python -m services.generator`: the content generator on HOST and PORT."""

import sys

from services.common.server import main
from services.generator.settings import GeneratorSettings


def build(settings: GeneratorSettings) -> object:
    from services.generator.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(GeneratorSettings, build))

"""`python -m services.platform`: the mock platform on HOST and PORT."""

import sys

from services.common.server import main
from services.platform.settings import PlatformSettings


def build(settings: PlatformSettings) -> object:
    from services.platform.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(PlatformSettings, build))

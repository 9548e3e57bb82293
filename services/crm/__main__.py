"""`python -m services.crm`: the mock CRM on HOST and PORT."""

import sys

from services.common.server import main
from services.crm.settings import CrmSettings


def build(settings: CrmSettings) -> object:
    from services.crm.app import create

    return create(settings)


if __name__ == "__main__":
    sys.exit(main(CrmSettings, build))

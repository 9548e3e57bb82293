"""The route of the busiest request: generation."""

from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import Request

from services.common.quick_route import QuickRoute
from services.generator.access import authenticate


class GenerateRoute(QuickRoute):
    """Authenticates the caller, and gives the endpoint the `role`."""

    given: ClassVar[frozenset[str]] = frozenset({"role"})

    async def other_arguments(self, request: Request) -> Mapping[str, Any]:
        """The caller's role. Raises HTTPException for a wrong or missing key."""
        return {"role": await authenticate(request)}

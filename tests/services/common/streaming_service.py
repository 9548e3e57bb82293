"""A service with what the mocks lack: an endless response, a bug, and a bug after the response has started."""

import asyncio
import sys
from collections.abc import AsyncIterator

from services.common.server import main
from services.common.settings import ServiceSettings


class StreamingSettings(ServiceSettings):
    port: int = 0


def build(settings: StreamingSettings) -> object:
    from fastapi import APIRouter
    from fastapi.responses import PlainTextResponse, StreamingResponse

    from services.common.app import create_app

    router = APIRouter()

    @router.get("/stream", response_class=PlainTextResponse)
    async def stream() -> StreamingResponse:
        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.02)

        return StreamingResponse(forever())

    @router.get("/bug", response_class=PlainTextResponse)
    async def bug() -> str:
        raise ZeroDivisionError("the password is swordfish")

    @router.get("/late-bug", response_class=PlainTextResponse)
    async def late_bug() -> StreamingResponse:
        async def broken() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ZeroDivisionError

        return StreamingResponse(broken())

    return create_app(settings, service="streaming", title="Streaming", routers=[router])


if __name__ == "__main__":
    sys.exit(main(StreamingSettings, build))

"""The app as a whole: on a real socket inside the test's own loop, and as a list of routes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

NOBODY: Final = "01890a5d-ac96-774b-bcce-b302099a8057"


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve an app that is open for work on all of 127.0.0.0/8; give its address."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # or asyncio sets no TCP_NODELAY
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 0))  # noqa: S104  # every loopback address is a client's
        config = uvicorn.Config(app, lifespan="off", log_config=None, proxy_headers=False)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110  # it has no event to wait for
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def calling_from(address: str, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client whose connections come from that address of this machine."""
    # no TLS, so no certificates to load for each of a hundred clients
    transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=30) as client:
        yield client


def requests_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Give method and path of everything that an app answers, the id being nobody's."""
    for route in iter_route_contexts(app.router.routes):
        for method in route.methods or {"GET"}:
            yield method, str(route.path).replace("{id}", NOBODY).replace("{name}", "x")

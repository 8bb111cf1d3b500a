"""A server of FastMCP that wants a login, with an authorization server that says yes to everybody."""

import socket

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
address = "127.0.0.1:%d" % listener.getsockname()[1]
registration = ClientRegistrationOptions(enabled=True)
auth = InMemoryOAuthProvider(base_url=f"http://{address}", client_registration_options=registration)
server = FastMCP("login", auth=auth)


@server.tool(annotations={"readOnlyHint": True})
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Hello, {name}!"


print(f"http://{address}/mcp", flush=True)
app = server.http_app()
uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listener])

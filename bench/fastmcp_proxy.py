"""FastMCP's proxy as it comes, before the server whose URL is the first argument."""

import socket
import sys

import uvicorn
from fastmcp.server import create_proxy

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
app = create_proxy(sys.argv[1]).http_app()
uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listener])

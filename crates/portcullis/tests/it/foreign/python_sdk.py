"""The Python SDK's client: lists, calls, reads an error, in the mode that is named. Prints one line."""

import asyncio
import os
import sys

import httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    url, mode = sys.argv[1], sys.argv[2]
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    async with httpx.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = await client.list_tools()
            good = await client.call_tool("get_customer", {"customer_id": 42})
            bad = await client.call_tool("get_customer", {"customer_id": -1})
            print(len(tools.tools) > 10, good.structured_content, bad.is_error)


asyncio.run(main())

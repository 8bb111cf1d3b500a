"""The FastMCP client: lists, calls, reads an error. Prints one line."""

import asyncio
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    async with Client(StreamableHttpTransport(sys.argv[1], headers=headers)) as client:
        tools = await client.list_tools()
        good = await client.call_tool("get_customer", {"customer_id": 42})
        bad = await client.call_tool("get_customer", {"customer_id": -1}, raise_on_error=False)
        print(len(tools) > 10, good.structured_content, bad.is_error)


asyncio.run(main())

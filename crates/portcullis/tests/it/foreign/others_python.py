"""The Python SDK's client on tool servers of others behind the gate, in the mode that is named. Prints one line."""

import asyncio
import os
import sys

import httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    url, mode = sys.argv[1], sys.argv[2]
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    reports = []

    async def progress(done, total, message) -> None:
        reports.append((done, total))

    async with httpx.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            echo = await client.call_tool("everything_echo", {"message": "hi"})
            long = {"duration": 0.4, "steps": 4}
            await client.call_tool(
                "everything_trigger-long-running-operation", long, progress_callback=progress
            )
            listed = await client.call_tool("files_list_directory", {"path": "."})
            outside = await client.call_tool("files_read_text_file", {"path": "/etc/hostname"})
            prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
            prompt = await client.get_prompt("everything_simple-prompt", {})
            resources = (await client.list_resources()).resources
            read = await client.read_resource(str(resources[0].uri))
            print(
                echo.content[0].text,
                len(reports),
                "known.txt" in listed.content[0].text,
                outside.is_error,
                "everything_simple-prompt" in prompts,
                len(prompt.messages),
                len(read.contents),
            )


asyncio.run(main())

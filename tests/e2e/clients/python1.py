"""An agent with the Python SDK, `mcp` 1.x: runs the sessions that its argument describes and prints what it was shown."""

import asyncio
import json
import sys
import urllib.request
from datetime import timedelta
from typing import Any

from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult, PaginatedRequestParams
from pydantic import AnyUrl


async def run(
    url: str, mode: str, token: str, lists: list[str], steps: list[Any], patience: float, answer: str, gate: str
) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"}
    asked: list[str] = []

    async def elicit(_context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        await passed(gate)
        content: Any = filled(params.requestedSchema) if answer == "accept" else None
        return ElicitResult(action=answer, content=content)  # type: ignore[arg-type]

    callback = elicit if answer else None
    connect = {"legacy": streamablehttp_client, "http+sse": sse_client}[mode]
    async with connect(url, headers) as (reading, writing, *_):
        async with ClientSession(
            reading, writing, timedelta(seconds=patience), elicitation_callback=callback
        ) as client:
            greeting = await client.initialize()
            return {
                "revision": str(greeting.protocolVersion),
                "lists": {kind: await listed(client, kind) for kind in lists},
                "outcomes": [await outcome(client, **step) for step in steps],
                "tools_again": [tool["name"] for tool in await listed(client, "tools")],
                "asked": asked,
            }


async def passed(gate: str) -> None:
    """Waits for what somebody waits for before answering."""
    if gate:
        await asyncio.to_thread(urllib.request.urlopen, gate)


def filled(form: Any) -> dict[str, Any]:
    """A form as somebody fills it in who agrees to all and is called Ada."""
    return {name: field["type"] == "boolean" or "Ada" for name, field in form["properties"].items()}


async def listed(client: ClientSession, kind: str) -> list[dict[str, Any]]:
    ask = {
        "tools": client.list_tools,
        "resources": client.list_resources,
        "resourceTemplates": client.list_resource_templates,
        "prompts": client.list_prompts,
    }[kind]
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await ask(params=PaginatedRequestParams(cursor=cursor))
        found += page.model_dump(mode="json", by_alias=True, exclude_none=True)[kind]
        if (cursor := page.nextCursor) is None:
            return found


async def outcome(client: ClientSession, kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the agent's program gets: a result, or an error with the text that it prints as."""
    try:
        if kind == "tool":
            result: Any = await client.call_tool(name, arguments)
        elif kind == "resource":
            result = await client.read_resource(AnyUrl(name))
        else:
            result = await client.get_prompt(name, arguments)
    except McpError as error:
        return {"raised": type(error).__name__, "text": str(error), "code": error.error.code}
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def main() -> None:
    print(json.dumps([await run(**session) for session in json.loads(sys.argv[1])]))


asyncio.run(main())

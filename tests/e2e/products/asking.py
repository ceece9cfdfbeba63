"""A server on the MCP SDK 2.x that asks for input itself, and writes down every call and answer as it was on the wire.

    python asking.py DIRECTORY PORT

A line of DIRECTORY/calls is the body of a `tools/call`, a line of DIRECTORY/answers what was answered to one.
"""

# No `annotations` from the future: the SDK reads those of the tools.
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel

directory = Path(sys.argv[1])
server = MCPServer("asking", log_level="ERROR")


@server.tool()
def close_account(id: int) -> str:
    """Closes an account."""
    return f"closed {id}"


@server.tool()
def look(id: int) -> str:
    """Looks at an account."""
    return f"looked at {id}"


class Name(BaseModel):
    """What `greet` asks for."""

    name: str


@server.tool()
async def greet(ctx: Context) -> str:
    """Asks for a name by a request of its own, as servers could up to 2025-11-25."""
    answer = await ctx.elicit("Whom shall I greet?", Name)
    return f"hello {answer.data.name}" if answer.action == "accept" else "hello"


@server.tool()
async def book(seats: int, ctx: Context) -> str | InputRequiredResult:
    """Books seats; asks for a name, then for a colour, and keeps the name in its state, which the SDK seals."""
    state = json.loads(ctx.request_state) if ctx.request_state else {}
    answers = ctx.input_responses or {}
    wanted = "colour" if "name" in state or "name" in answers else "name"
    if wanted == "colour" and "name" not in state:
        state["name"] = text_of(answers["name"], "name")
    if "colour" in answers:
        return f"{seats} seats for {state['name']}, {text_of(answers['colour'], 'colour')}"
    schema = {"type": "object", "properties": {wanted: {"type": "string"}}, "required": [wanted]}
    form = ElicitRequest(params=ElicitRequestFormParams(message=f"Which {wanted}?", requested_schema=schema))
    return InputRequiredResult(input_requests={wanted: form}, request_state=json.dumps({**state, "asked": wanted}))


def text_of(answer: Any, field: str) -> str:
    """What somebody has filled in."""
    return str(answer.content[field]) if isinstance(answer, ElicitResult) and answer.content else "nobody"


def written_down(app: Any) -> Any:
    """Keeps what comes and goes."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        came, went = bytearray(), bytearray()

        async def received() -> Any:
            event = await receive()
            came.extend(event.get("body", b""))
            if event["type"] == "http.request" and not event.get("more_body") and b'"tools/call"' in came:
                keep("calls", came)
            return event

        async def sent(event: Any) -> None:
            went.extend(event.get("body", b""))
            if event["type"] == "http.response.body" and not event.get("more_body") and b'"tools/call"' in came:
                keep("answers", went)
            await send(event)

        await app(scope, received, sent)

    return serve


def keep(name: str, octets: bytes) -> None:
    """One line, before anybody learns of it."""
    with (directory / name).open("a") as file:
        file.write(json.dumps(octets.decode()) + "\n")


if __name__ == "__main__":
    uvicorn.run(written_down(server.streamable_http_app()), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")

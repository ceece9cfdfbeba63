"""A small MCP server on a Python product, with tools that write down that they ran.

    python server.py PRODUCT DIRECTORY stdio
    python server.py PRODUCT DIRECTORY http PORT [--json] [--stateless] [--lenient] [--tools N] [--auth KIND]

PRODUCT is sdk1 or sdk2 (the MCP SDK's generations) or fastmcp. What ran is a line of JSON in DIRECTORY/ran.
Whoever writes DIRECTORY/hold-list holds the next `tools/list` until DIRECTORY/release-list is there.
"""

# No `annotations` from the future: the products read those of the tools.
import argparse
import base64
import binascii
import json
import unicodedata
from pathlib import Path
from typing import Any

import anyio
import jwt
import uvicorn
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.responses import PlainTextResponse

HIDDEN = "vault_keys"
# Names that can be spelled in more than one way.
SPELLED = ["löschen", "삭제_계정", "비밀_도구", "löschen_alles", "delete"]
# What the server of `--auth tokens` verifies tokens with.
KEY = "a key of the end-to-end tests, of 32 bytes and more"
PASSWORDS = {"alice": "wonderland"}

directory: Path


def record(tool: str, **arguments: Any) -> str:
    """Writes down that a tool ran, before anything can keep it from being told."""
    with (directory / "ran").open("a") as file:
        file.write(json.dumps({"tool": tool, **arguments}) + "\n")
    return f"{tool} ran"


async def opened(gate: str) -> str:
    """Waits for a file, and returns its text."""
    while not (directory / gate).exists():
        await anyio.sleep(0.01)
    return (directory / gate).read_text()


async def held() -> None:
    """Holds a list for whoever asked for that, once."""
    hold = directory / "hold-list"
    if not hold.exists():
        return
    hold.unlink()
    record("tools/list")
    how = await opened("release-list")
    record("tools/list released")
    if how == "fail":
        raise RuntimeError("no list today")


# --- The tools --------------------------------------------------------------------------------


class Change(BaseModel):
    """Arguments as many servers take them: by either spelling."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    is_admin: bool = False


def search(query: str = "") -> str:
    return record("search", query=query)


def delete_account() -> str:
    return record("delete_account")


def vault_keys() -> str:
    return record(HIDDEN)


def pay(amount: float = 1) -> str:
    return record("pay", amount=amount)


async def slow(until: str) -> str:
    record("slow", until=until)
    await opened(until)
    return "slow ran"


def grant(roles: list[str]) -> str:
    return record("grant", roles=roles)


def wipe(namespace: str | None = None) -> str:
    return record("wipe", namespace=namespace)


def update(change: Change) -> str:
    return record("update", admin=change.is_admin)


def run(command: str) -> str:
    return record("run", command=command)


TOOLS = [search, delete_account, vault_keys, pay, slow, grant, wipe, update, run]


def resource() -> str:
    return record("resource")


RESOURCES = ["memo://keys/root", "db://prod:5432/x", "memo://public/a"]


def spelled(name: str) -> Any:
    """A tool of that name."""

    def tool() -> str:
        return record(name)

    return tool


def add(server: Any) -> None:
    """Gives a server all that it has."""
    for tool in TOOLS:
        server.tool()(tool)
    for name in SPELLED:
        server.tool(name=name)(spelled(name))
    for uri in RESOURCES:
        server.resource(uri)(resource)


def plain(name: str) -> str:
    """A name as those take it who compare as Swift, JavaScript's collator and some file systems do."""
    return unicodedata.normalize("NFC", "".join(char for char in name if unicodedata.category(char) != "Cf"))


def many(kind: Any, schema: str, count: int) -> list[Any]:
    """Tools for a list of honest but unusual length, about 2 KB each."""
    properties = {"q": {"type": "string", "description": "x" * 200}}
    made = {"description": "d" * 1700, schema: {"type": "object", "properties": properties}}
    return [kind(name=f"app_{number:04}", **made) for number in range(count)]


# --- The products -----------------------------------------------------------------------------


def sdk1(options: argparse.Namespace) -> tuple[Any, Any]:
    """The MCP SDK, 1.x: the server, and what makes an app of it."""
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.types import Tool

    class Server(FastMCP):
        async def list_tools(self) -> Any:
            await held()
            return await super().list_tools() + many(Tool, "inputSchema", options.tools)

        async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
            return await super().call_tool(plain(name) if options.lenient else name, arguments)

    server = Server("sdk1", log_level="ERROR", json_response=options.json, stateless_http=options.stateless)

    async def shout(size: int, ctx: Context) -> str:
        # Without the id of a request that it belongs to, it goes to the stream of the GET.
        await ctx.session.send_log_message(level="info", data="A" * size)
        return record("shout")

    shout.__annotations__["ctx"] = Context
    server.tool()(shout)
    return server, server.streamable_http_app


def sdk2(options: argparse.Namespace) -> tuple[Any, Any]:
    """The MCP SDK, 2.x."""
    from mcp.server.mcpserver import MCPServer
    from mcp_types import Tool

    class Server(MCPServer):
        async def list_tools(self) -> Any:
            await held()
            return await super().list_tools() + many(Tool, "input_schema", options.tools)

        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            return await super().call_tool(plain(name) if options.lenient else name, arguments, context)

    server = Server("sdk2", log_level="ERROR")
    return server, lambda: server.streamable_http_app(json_response=options.json, stateless_http=options.stateless)


def fastmcp(options: argparse.Namespace) -> tuple[Any, Any]:
    """fastmcp, on either SDK."""
    from fastmcp import FastMCP
    from fastmcp.server.middleware import Middleware

    class Held(Middleware):
        async def on_list_tools(self, context: Any, call_next: Any) -> Any:
            await held()
            return await call_next(context)

    server = FastMCP("fastmcp", middleware=[Held()], auth=login(options.port) if options.auth == "oauth" else None)
    return server, lambda: server.http_app(path="/mcp", json_response=options.json, stateless_http=options.stateless)


def login(port: int) -> Any:
    """fastmcp as its own authorization server."""
    from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
    from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions

    return InMemoryOAuthProvider(
        base_url=f"http://localhost:{port}",
        client_registration_options=ClientRegistrationOptions(enabled=True),
        revocation_options=RevocationOptions(enabled=True),
    )


PRODUCTS = {"sdk1": sdk1, "sdk2": sdk2, "fastmcp": fastmcp}


# --- Who may ask ------------------------------------------------------------------------------


def known(authorization: str) -> bool:
    """Whether this is a credential, as servers read it who split at white space and decode base64 as Python does."""
    scheme, token, *_ = [*authorization.split(), "", ""]
    try:
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(token).decode().partition(":")
            return PASSWORDS.get(user) == password
        if token.count(".") == 2:
            return bool(jwt.decode(token, KEY, ["HS256"]))
    except (binascii.Error, UnicodeDecodeError, jwt.InvalidTokenError):
        return False
    return token.startswith("honest-")


def guarded(app: Any) -> Any:
    """Answers 401 to those without a credential."""

    async def check(scope: Any, receive: Any, send: Any) -> None:
        authorization = dict(scope.get("headers", [])).get(b"authorization", b"").decode("latin-1")
        if scope["type"] != "http" or known(authorization):
            await app(scope, receive, send)
        else:
            await PlainTextResponse("no", 401, {"www-authenticate": "Bearer"})(scope, receive, send)

    return check


def main() -> None:
    global directory
    parser = argparse.ArgumentParser()
    parser.add_argument("product", choices=PRODUCTS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--json", action="store_true", help="answers as JSON, not as events")
    parser.add_argument("--stateless", action="store_true")
    parser.add_argument("--lenient", action="store_true", help="finds a tool by any spelling that looks the same")
    parser.add_argument("--tools", type=int, default=0, help="so many more tools")
    parser.add_argument("--auth", choices=["known", "oauth"])
    options = parser.parse_args()
    directory = options.directory
    server, app = PRODUCTS[options.product](options)
    add(server)
    if options.transport == "stdio":
        server.run(transport="stdio")
        return
    served = app()
    uvicorn.run(guarded(served) if options.auth == "known" else served, host="127.0.0.1", port=options.port, log_level="error")


if __name__ == "__main__":
    main()

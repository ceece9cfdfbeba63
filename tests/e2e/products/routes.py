"""Web applications whose routes are tools, on FastAPI with fastapi-mcp and on Litestar with litestar-mcp.

    python routes.py fastapi|litestar DIRECTORY PORT

Which route ran is a line of JSON in DIRECTORY/ran.
"""

# No `annotations` from the future: the products read those of the routes.
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn

directory = Path(sys.argv[2])


def record(tool: str, **arguments: Any) -> dict[str, str]:
    """Writes down that a route ran."""
    with (directory / "ran").open("a") as file:
        file.write(json.dumps({"tool": tool, **arguments}) + "\n")
    return {"ran": tool}


def fastapi() -> Any:
    """FastAPI with fastapi-mcp."""
    from fastapi import FastAPI
    from fastapi_mcp import FastApiMCP

    app = FastAPI()

    @app.get("/notes/{number}", operation_id="read_note")
    async def read_note(number: int) -> dict[str, str]:
        return record("read_note", number=number)

    @app.delete("/notes/{number}", operation_id="delete_note")
    async def delete_note(number: int) -> dict[str, str]:
        return record("delete_note", number=number)

    @app.api_route("/admin/reset", methods=["GET", "HEAD", "OPTIONS"], operation_id="reset")
    async def reset() -> dict[str, str]:
        return record("reset")

    @app.post("/refunds/{number}", operation_id="refund")
    async def refund(number: int) -> dict[str, str]:
        return record("refund", number=number)

    FastApiMCP(app).mount_http()
    return app


def litestar() -> Any:
    """Litestar with litestar-mcp."""
    from litestar import HttpMethod, Litestar, delete, get, post, route
    from litestar_mcp import LitestarMCP

    @get("/notes/{number:int}", mcp_tool="read_note")
    async def read_note(number: int) -> dict[str, str]:
        return record("read_note", number=number)

    @delete("/notes/{number:int}", mcp_tool="delete_note", status_code=200)
    async def delete_note(number: int) -> dict[str, str]:
        return record("delete_note", number=number)

    @route("/admin/reset", http_method=[HttpMethod.GET, HttpMethod.HEAD, HttpMethod.OPTIONS], mcp_tool="reset")
    async def reset() -> dict[str, str]:
        return record("reset")

    @post("/refunds/{number:int}", mcp_tool="refund")
    async def refund(number: int) -> dict[str, str]:
        return record("refund", number=number)

    return Litestar([read_note, delete_note, reset, refund], plugins=[LitestarMCP()])


if __name__ == "__main__":
    uvicorn.run({"fastapi": fastapi, "litestar": litestar}[sys.argv[1]](), host="127.0.0.1", port=int(sys.argv[3]), log_level="error")

"""A FastMCP server that is its own authorization server, with two tools.

    python oauth_server.py PORT BASE_URL
"""

from __future__ import annotations

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider


def main(port: str, base_url: str) -> None:
    """Serves until it is killed."""
    auth = InMemoryOAuthProvider(
        base_url=base_url,
        client_registration_options=ClientRegistrationOptions(enabled=True),
        revocation_options=RevocationOptions(enabled=True),
    )
    server = FastMCP("guarded", auth=auth)

    @server.tool
    def search(q: str) -> str:
        return f"found {q}"

    @server.tool
    def delete_account() -> str:
        return "deleted"

    server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False, log_level="WARNING")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A client of the Language Server Protocol, as an editor is one: https://microsoft.github.io/language-server-protocol/."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from servers import CLIENTS, NODE


class YamlServer:
    """yaml-language-server, which is what VS Code's extension for YAML runs. It asks for its settings, and gets these."""

    def __init__(self, settings: dict[str, Any], root: Path) -> None:
        self.settings = settings
        self.root = root
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self._last = 0

    def __enter__(self) -> YamlServer:
        script = CLIENTS / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
        self.process = subprocess.Popen(
            [NODE, script, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.root
        )
        capabilities = {"workspace": {"configuration": True}, "textDocument": {"completion": {}, "publishDiagnostics": {}}}
        folders = [{"uri": self.root.as_uri(), "name": "work"}]
        self.ask("initialize", {"processId": None, "rootUri": self.root.as_uri(), "capabilities": capabilities, "workspaceFolders": folders})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": self.settings})
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def open(self, file: Path) -> list[dict[str, Any]]:
        """Opens a file, and waits for what the server says of it."""
        uri = file.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": file.read_text()}
        self.diagnostics.pop(uri, None)
        self.tell("textDocument/didOpen", {"textDocument": document})
        while uri not in self.diagnostics:
            self._take(self._read())
        return self.diagnostics[uri]

    def complete(self, file: Path, line: int, character: int) -> list[str]:
        """What is offered at a place, lines and characters from 0."""
        at = {"textDocument": {"uri": file.as_uri()}, "position": {"line": line, "character": character}}
        found = self.ask("textDocument/completion", at)
        return [item["label"] for item in (found["items"] if isinstance(found, dict) else found)]

    def hover(self, file: Path, line: int, character: int) -> str:
        at = {"textDocument": {"uri": file.as_uri()}, "position": {"line": line, "character": character}}
        return json.dumps(self.ask("textDocument/hover", at))

    def tell(self, method: str, params: object) -> None:
        self._write({"method": method, "params": params})

    def ask(self, method: str, params: object) -> Any:
        self._last += 1
        self._write({"id": self._last, "method": method, "params": params})
        while True:
            message = self._read()
            if message.get("id") == self._last and "method" not in message:
                assert "error" not in message, message
                return message["result"]
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        """What the server says or asks by itself."""
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "id" in message and method is not None:
            answer: Any = None
            if method == "workspace/configuration":
                answer = [self.settings.get(item["section"].strip("[]")) for item in message["params"]["items"]]
            self._write({"id": message["id"], "result": answer})

    def _write(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        length = 0
        while (line := self.process.stdout.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "yaml-language-server has ended"
        return json.loads(self.process.stdout.read(length))

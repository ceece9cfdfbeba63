// A small MCP server on the TypeScript SDK, `@modelcontextprotocol/sdk` 1.x, with tools that write down that they ran.
//
//     node server.mjs DIRECTORY PORT
//
// What ran is a line of JSON in DIRECTORY/ran.

import { appendFileSync, existsSync } from "node:fs";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

import { jwtVerify } from "jose";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { CallToolRequestSchema, ErrorCode, ListToolsRequestSchema, McpError } from "@modelcontextprotocol/sdk/types.js";

const [directory, port] = process.argv.slice(2);
const KEY = new TextEncoder().encode("a key of the end-to-end tests, of 32 bytes and more");

function record(tool, more = {}) {
  appendFileSync(`${directory}/ran`, JSON.stringify({ tool, ...more }) + "\n");
  return { content: [{ type: "text", text: `${tool} ran` }] };
}

// --- The tools -----------------------------------------------------------------------------

const TOOLS = {
  search: () => record("search"),
  delete_account: () => record("delete_account"),
  vault_keys: () => record("vault_keys"),
  pay: () => record("pay"),
  slow: async ({ until }) => {
    const ran = record("slow", { until });
    while (!existsSync(`${directory}/${until}`)) await setTimeout(10);
    return ran;
  },
  // How options get their defaults in much of JavaScript.
  grant: ({ options }) => record("grant", { admin: Object.assign({}, options).admin === true }),
  shot: ({ size }) => ({ content: [{ type: "image", data: "A".repeat(size), mimeType: "image/png" }] }),
  löschen: () => record("löschen"),
  삭제_계정: () => record("삭제_계정"),
  비밀_도구: () => record("비밀_도구"),
  löschen_alles: () => record("löschen_alles"),
  delete: () => record("delete"),
};

// Each session has a server of its own.
function makeServer() {
  const server = new McpServer({ name: "typescript", version: "1" });
  for (const uri of ["memo://keys/root", "db://prod:5432/x", "memo://public/a", "https://api.test/keys/root"])
    server.registerResource(uri, uri, {}, () => {
      record("resource", { uri });
      return { contents: [{ uri, text: "secret" }] };
    });
  const tools = Object.keys(TOOLS).map((name) => ({ name, inputSchema: { type: "object" } }));
  server.server.registerCapabilities({ tools: {} });
  server.server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
    // The comparison of the language for texts that people see: by meaning, not by bytes.
    const name = Object.keys(TOOLS).find((each) => each.localeCompare(params.name) === 0);
    if (name === undefined) throw new McpError(ErrorCode.InvalidParams, `no tool ${params.name}`);
    return TOOLS[name](params.arguments ?? {});
  });
  return server;
}

// --- HTTP ----------------------------------------------------------------------------------

// What has been sent on the streams of a session, for those who come back.
class Events {
  #sent = [];
  storeEvent = async (stream, message) => `${this.#sent.push({ stream, message })}`;
  getStreamIdForEventId = async (id) => this.#sent[Number(id) - 1]?.stream;
  async replayEventsAfter(last, { send }) {
    const { stream } = this.#sent[Number(last) - 1];
    for (const [at, each] of this.#sent.entries())
      if (at >= Number(last) && each.stream === stream) await send(`${at + 1}`, each.message);
    return stream;
  }
}

const sessions = new Map();

async function transportOf(request) {
  const id = request.headers["mcp-session-id"];
  if (id !== undefined) return sessions.get(id);
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new Events(),
    onsessioninitialized: (made) => sessions.set(made, transport),
  });
  await makeServer().connect(transport);
  return transport;
}

async function isKnown(request) {
  const token = request.headers.authorization?.split(" ")[1];
  return token !== undefined && jwtVerify(token, KEY).then(() => true, () => false);
}

createServer(async (request, response) => {
  if (request.url === "/guarded" && !(await isKnown(request))) return response.writeHead(401).end("no");
  const transport = await transportOf(request);
  if (transport === undefined) return response.writeHead(404).end("no session");
  await transport.handleRequest(request, response);
}).listen(Number(port), "127.0.0.1");

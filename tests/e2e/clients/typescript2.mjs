// An agent with the TypeScript SDK, `@modelcontextprotocol/client` 2.x: runs the sessions that its argument
// describes and prints what it was shown.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const NEGOTIATION = { legacy: "legacy", "http+sse": "legacy", auto: "auto", "2026-07-28": { pin: "2026-07-28" } };

async function run({ url, mode, token, calls, patience }) {
  const versionNegotiation = { mode: NEGOTIATION[mode] };
  const client = new Client({ name: "agent", version: "1" }, { versionNegotiation });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const Transport = mode === "http+sse" ? SSEClientTransport : StreamableHTTPClientTransport;
  const transport = new Transport(new URL(url), { requestInit });
  await client.connect(transport);
  const revision = client.getNegotiatedProtocolVersion();
  const { tools } = await client.listTools();
  const outcomes = [];
  for (const call of calls) outcomes.push(await outcome(client, call, patience));
  const { tools: again } = await client.listTools({}, { cacheMode: "refresh" });
  await transport.terminateSession?.();
  await client.close();
  return { revision, tools, outcomes, tools_again: again.map((tool) => tool.name) };
}

// What the agent's program gets: a result, or an error with the text that it prints as.
async function outcome(client, { tool, arguments: args }, patience) {
  const call = { name: tool, arguments: args };
  try {
    return { result: await client.callTool(call, { timeout: patience * 1000 }) };
  } catch (error) {
    return { raised: error.constructor.name, text: String(error), code: error.code, message: error.message };
  }
}

const reports = [];
for (const session of JSON.parse(process.argv.at(-1))) reports.push(await run(session));
console.log(JSON.stringify(reports));

// An agent with the TypeScript SDK, `@modelcontextprotocol/sdk` 1.x: runs the sessions that its argument
// describes and prints what it was shown.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const TRANSPORTS = { legacy: StreamableHTTPClientTransport, "http+sse": SSEClientTransport };

async function run({ url, mode, token, calls, patience }) {
  const client = new Client({ name: "agent", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const transport = new TRANSPORTS[mode](new URL(url), { requestInit });
  await client.connect(transport);
  // Only one of the transports tells it openly.
  const revision = transport._protocolVersion;
  const tools = await toolsOf(client);
  const outcomes = [];
  for (const call of calls) outcomes.push(await outcome(client, call, patience));
  const again = await toolsOf(client);
  await transport.terminateSession?.();
  await client.close();
  return { revision, tools, outcomes, tools_again: again.map((tool) => tool.name) };
}

async function toolsOf(client) {
  const found = [];
  let cursor;
  do {
    const page = await client.listTools({ cursor });
    found.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

// What the agent's program gets: a result, or an error with the text that it prints as.
async function outcome(client, { tool, arguments: args }, patience) {
  const call = { name: tool, arguments: args };
  try {
    return { result: await client.callTool(call, undefined, { timeout: patience * 1000 }) };
  } catch (error) {
    return { raised: error.constructor.name, text: String(error), code: error.code, message: error.message };
  }
}

const reports = [];
for (const session of JSON.parse(process.argv.at(-1))) reports.push(await run(session));
console.log(JSON.stringify(reports));

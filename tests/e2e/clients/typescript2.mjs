// An agent with the TypeScript SDK, `@modelcontextprotocol/client` 2.x: runs the sessions that its argument
// describes and prints what it was shown.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

async function run({ url, mode, token, calls }) {
  const pinned = mode === "legacy" || mode === "auto" ? mode : { pin: mode };
  const client = new Client({ name: "agent", version: "1" }, { versionNegotiation: { mode: pinned } });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  await client.connect(transport);
  const revision = client.getNegotiatedProtocolVersion();
  const { tools } = await client.listTools();
  const outcomes = [];
  for (const call of calls) outcomes.push(await outcome(client, call));
  const { tools: again } = await client.listTools({}, { cacheMode: "refresh" });
  await transport.terminateSession();
  await client.close();
  return { revision, tools, outcomes, tools_again: again.map((tool) => tool.name) };
}

// What the agent's program gets: a result, or an error with the text that it prints as.
async function outcome(client, { tool, arguments: args }) {
  try {
    return { result: await client.callTool({ name: tool, arguments: args }) };
  } catch (error) {
    return { raised: error.constructor.name, text: String(error), code: error.code, message: error.message };
  }
}

const reports = [];
for (const session of JSON.parse(process.argv.at(-1))) reports.push(await run(session));
console.log(JSON.stringify(reports));

// An agent with the TypeScript SDK, `@modelcontextprotocol/sdk` 1.x: runs the sessions that its argument
// describes and prints what it was shown.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const TRANSPORTS = { legacy: StreamableHTTPClientTransport, "http+sse": SSEClientTransport };
const LISTS = {
  tools: "listTools",
  resources: "listResources",
  resourceTemplates: "listResourceTemplates",
  prompts: "listPrompts",
};

async function run({ url, mode, token, lists, steps, patience, answer, gate }) {
  const asked = [];
  const capabilities = answer ? { elicitation: {} } : {};
  const client = new Client({ name: "agent", version: "1" }, { capabilities });
  if (answer) {
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
      asked.push(params.message);
      if (gate) await fetch(gate);
      return answer === "accept" ? { action: answer, content: filled(params.requestedSchema) } : { action: answer };
    });
  }
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const transport = new TRANSPORTS[mode](new URL(url), { requestInit });
  await client.connect(transport);
  // Only one of the transports tells it openly.
  const revision = transport._protocolVersion;
  const found = {};
  for (const kind of lists) found[kind] = await listed(client, kind);
  const outcomes = [];
  for (const step of steps) outcomes.push(await outcome(client, step, { timeout: patience * 1000 }));
  const tools_again = (await listed(client, "tools")).map((tool) => tool.name);
  await transport.terminateSession?.();
  await client.close();
  return { revision, lists: found, outcomes, tools_again, asked };
}

// A form as somebody fills it in who agrees to all and is called Ada.
function filled({ properties }) {
  return Object.fromEntries(Object.entries(properties).map(([name, { type }]) => [name, type === "boolean" || "Ada"]));
}

async function listed(client, kind) {
  const found = [];
  let cursor;
  do {
    const page = await client[LISTS[kind]]({ cursor });
    found.push(...page[kind]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

// What the agent's program gets: a result, or an error with the text that it prints as.
async function outcome(client, { kind, name, arguments: args }, options) {
  const ask = {
    tool: () => client.callTool({ name, arguments: args }, undefined, options),
    resource: () => client.readResource({ uri: name }, options),
    prompt: () => client.getPrompt({ name, arguments: args }, options),
  };
  try {
    return { result: await ask[kind]() };
  } catch (error) {
    return { raised: error.constructor.name, text: String(error), code: error.code };
  }
}

const reports = [];
for (const session of JSON.parse(process.argv.at(-1))) reports.push(await run(session));
console.log(JSON.stringify(reports));

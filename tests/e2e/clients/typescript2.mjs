// An agent with the TypeScript SDK, `@modelcontextprotocol/client` 2.x: runs the sessions that its argument
// describes and prints what it was shown.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const NEGOTIATION = { legacy: "legacy", "http+sse": "legacy", auto: "auto", "2026-07-28": { pin: "2026-07-28" } };
const LISTS = {
  tools: "listTools",
  resources: "listResources",
  resourceTemplates: "listResourceTemplates",
  prompts: "listPrompts",
};

async function run({ url, mode, token, lists, steps, patience, answer, gate }) {
  const asked = [];
  const versionNegotiation = { mode: NEGOTIATION[mode] };
  const capabilities = answer ? { elicitation: { form: {} } } : {};
  const client = new Client({ name: "agent", version: "1" }, { versionNegotiation, capabilities });
  if (answer) {
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      asked.push(params.message);
      if (gate) await fetch(gate);
      return answer === "accept" ? { action: answer, content: filled(params.requestedSchema) } : { action: answer };
    });
  }
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const Transport = mode === "http+sse" ? SSEClientTransport : StreamableHTTPClientTransport;
  const transport = new Transport(new URL(url), { requestInit });
  await client.connect(transport);
  const revision = client.getNegotiatedProtocolVersion();
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

// This SDK puts the pages together itself.
async function listed(client, kind) {
  return (await client[LISTS[kind]]({}, { cacheMode: "refresh" }))[kind];
}

// What the agent's program gets: a result, or an error with the text that it prints as.
async function outcome(client, { kind, name, arguments: args }, options) {
  const ask = {
    tool: () => client.callTool({ name, arguments: args }, options),
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

// Reads bodies as servers in JavaScript do. Each line of the input is {"body": base64, "written": text, "messages": [...]}: what the
// filter let through, how it would write it, and what it read. Writes a line for each: what differs, or nothing.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const modules = createRequire(process.argv[2] + "/");
const { JSONRPCMessageSchema } = await import(pathToFileURL(modules.resolve("@modelcontextprotocol/sdk/types.js")));
const iconv = modules("iconv-lite");

// Hono and other servers on web standards; Node's own decoding, which keeps a mark; body-parser, which is Express; and the official SDK.
const READERS = {
  "JSON.parse": (body) => JSON.parse(new TextDecoder().decode(body)),
  "JSON.parse of a Buffer": (body) => JSON.parse(body.toString("utf8")),
  "body-parser": (body) => JSON.parse(iconv.decode(body, "utf-8")),
  "TypeScript SDK": (body) => {
    const read = JSON.parse(new TextDecoder().decode(body));
    return Array.isArray(read) ? read.map((each) => JSONRPCMessageSchema.parse(each)) : JSONRPCMessageSchema.parse(read);
  },
};

// What a server looks at, by property access: whatever a prototype lends is there too.
function asked(message) {
  if (typeof message?.method !== "string") return {};
  const call = message.method === "tools/call";
  return {
    method: message.method,
    id: message.id ?? undefined,
    name: call ? message.params?.name : undefined,
    arguments: call ? flat(message.params?.arguments) : undefined,
  };
}

function flat(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const all = Object.create(null);
  for (const key in value) all[key] = value[key];
  return all;
}

const read = (reader, body) => {
  const value = reader(body);
  return (Array.isArray(value) ? value : [value]).map(asked);
};

for (const line of (await text(process.stdin)).split("\n").filter(Boolean)) {
  const { body, written, messages } = JSON.parse(line);
  const differences = [];
  for (const [name, reader] of Object.entries(READERS)) {
    let theirs;
    try {
      theirs = read(reader, Buffer.from(body, "base64"));
    } catch {
      continue; // What a server refuses it does not run.
    }
    const ours = messages.map((each) => asked({ ...each, params: { name: each.name, arguments: each.arguments } }));
    if (!isDeepStrictEqual(theirs, ours)) differences.push(`${name}: ${JSON.stringify(theirs)}, not ${JSON.stringify(ours)}`);
    if (!isDeepStrictEqual(theirs, read(reader, Buffer.from(written)))) differences.push(`${name}: as it is written anew`);
  }
  process.stdout.write(JSON.stringify(differences) + "\n");
}

#!/usr/bin/env node
// Runs the binary of the package that npm has installed for this machine.
"use strict";

const { spawnSync } = require("node:child_process");

const name = `mcp-policy-${process.platform}-${process.arch}`;
let binary;
try {
  binary = require.resolve(`${name}/bin/mcp-policy`);
} catch {
  console.error(
    `mcp-policy: there is no binary for ${process.platform} on ${process.arch} here.\n` +
      `Either npm left out optional dependencies (install without --omit=optional), or no ${name} is published:\n` +
      "then build it with cargo, see https://github.com/mcp-policy/mcp-policy.",
  );
  process.exit(2);
}
const done = spawnSync(binary, process.argv.slice(2), { stdio: "inherit" });
if (done.error) {
  console.error(`mcp-policy: ${done.error.message}`);
  process.exit(2);
}
if (done.signal) process.kill(process.pid, done.signal);
process.exit(done.status ?? 2);

#!/usr/bin/env node
// `npx qv`: plain JavaScript, because the Node that starts it may be too old for the sources. In a checkout qv always
// runs under the checkout's pinned Node.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../src/cli/qv.ts', import.meta.url));
const toolchain = fileURLToPath(new URL('../../.toolchain/run.mjs', import.meta.url));
const [major, minor] = process.versions.node.split('.').map(Number);
const runsSources = major > 22 || (major === 22 && minor >= 18);

if (existsSync(toolchain)) {
  process.argv = [process.argv[0], toolchain, 'node', cli, ...process.argv.slice(2)];
  await import(toolchain);
} else if (runsSources) {
  await import(cli);
} else {
  process.stderr.write(`qv: Node ${process.versions.node} is too old; 24 is needed\n`);
  process.exitCode = 2;
}

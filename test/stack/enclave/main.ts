/**
 * The enclave's vault process in the local stack: the same enclave as in an image, wired to Unix sockets and the
 * simulated security module. argv: config file, module's socket, data address, control address, tunnel address.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { boot } from '@quantumvault/enclave/boot.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { socketNsm } from '../nsm/client.ts';

const [configPath = '', nsm = '', data = '', control = '', tunnel = ''] = process.argv.slice(2);
const log = (line: string): void => void process.stderr.write(`enclave: ${line}\n`);

function startAgent(): Duplex {
  const agent = spawn(process.execPath, [join(__dirname, 'kms-agent.cjs'), configPath, tunnel], {
    // Nothing in its environment, nothing on its input; descriptor 3 is its socket to this process.
    env: {},
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  });
  const socket = agent.stdio[3] as Duplex;
  agent.once('exit', (code, signal) => {
    log(`kms-agent ended (${code ?? signal})`);
    socket.destroy();
  });
  return socket;
}

// The stack's end of this pipe closes when the stack ends, however it ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
process.on('uncaughtException', (error) => {
  log(`fatal: ${error.name}`);
  process.exit(1);
});

boot({
  configBytes: readFileSync(configPath),
  nsm: socketNsm(nsm),
  mixRandomness: (bytes) => writeFileSync('/dev/urandom', bytes),
  transport: unixTransport,
  data: parseTransportAddress(data),
  control: parseTransportAddress(control),
  startAgent,
  monotonicMs: () => performance.now(),
  log,
}).then(
  () => process.stdout.write(`${JSON.stringify({ ready: true })}\n`),
  (error: unknown) => {
    log(`boot failed: ${error instanceof Error ? error.message : 'unknown fault'}`);
    process.exit(1);
  },
);

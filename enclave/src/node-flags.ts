/**
 * How Node is started in the enclave. enclave.Dockerfile's command, which is measured, repeats NODE_FLAGS: a test
 * compares them, and a process that lacks one does not go on.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** OpenSSL keeps private keys here. A key pair takes 1,408. */
export const SECURE_HEAP_BYTES = 65_536;

/** Of both processes. */
export const NODE_FLAGS: readonly string[] = [
  // The inspector is not switched on by a signal.
  '--disable-sigusr1',
  // Text never becomes code.
  '--disallow-code-generation-from-strings',
  // Nothing reaches an object's prototype by the name __proto__.
  '--disable-proto=throw',
  // CommonJS does not load ES modules; modules are not looked for in a home.
  '--no-experimental-require-module',
  '--no-global-search-paths',
  // Between guard pages, locked, and out of core files.
  `--secure-heap=${SECURE_HEAP_BYTES}`,
];

/**
 * Of the kms-agent: what KMS or whoever is on the way sends is read by an interpreter that makes no machine code, in a
 * process that reads two files and its folder.
 */
export function agentFlags(file: string, configPath: string): readonly string[] {
  return [
    ...NODE_FLAGS,
    '--jitless',
    '--max-old-space-size=128',
    // No writing, no threads, no other program; addons are loaded before anything is received.
    '--permission',
    '--allow-addons',
    `--allow-fs-read=${dirname(file)}/*`,
    `--allow-fs-read=${configPath}`,
  ];
}

/** What makes Node, its libraries or the loader do something else than the command says. */
const STEERING = /^(NODE_|LD_|OPENSSL_|SSL_|GCONV_|MALLOC_|UV_)/;

/**
 * The command is what the image's configuration says, and nothing beside it steers Node.
 * @throws Error naming the flag that is missing or too much, or the variable
 */
export function requireCommand(given: readonly string[] = process.execArgv, names = environmentNames()): void {
  const missing = NODE_FLAGS.find((flag) => !given.includes(flag));
  if (missing !== undefined) throw new Error(`Node was started without ${missing}`);
  // A later flag can take an earlier one back.
  const other = given.find((flag) => !NODE_FLAGS.includes(flag));
  if (other !== undefined) throw new Error(`Node was started with ${JSON.stringify(other)}`);
  const steering = names.find((name) => STEERING.test(name));
  if (steering !== undefined) throw new Error(`${JSON.stringify(steering)} in the environment`);
}

/** Names alone: nothing here reads what a variable says. */
function environmentNames(): readonly string[] {
  const entries = readFileSync('/proc/self/environ', 'latin1').split('\0');
  return entries.map((entry) => entry.split('=', 1)[0] ?? '');
}

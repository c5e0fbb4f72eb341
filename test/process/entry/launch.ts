/**
 * Starts a kms-agent as the vault process does, as another user where this one may: argv: bundle, configuration.
 * Prints the agent's process id; its standard error is this one's.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { confineVault } from '@quantumvault/enclave/confinement.ts';
import { startKmsAgent } from '@quantumvault/enclave/run.ts';
import { loadNative } from '@quantumvault/shared/native.ts';

const [file = '', configPath = ''] = process.argv.slice(2);
process.stdin.resume().on('end', () => process.exit(0));
confineVault(loadNative(join(__dirname, 'qv-native.node')));
const user = process.getuid?.() === 0 ? { user: 10_001 } : {};
const socket = startKmsAgent({ file, tunnel: { kind: 'unix', path: '/nowhere' }, ...user }, configPath);
socket.resume().on('close', () => process.exit(0));
const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').trim();
process.stdout.write(`${JSON.stringify({ ready: true, agent: Number(children) })}\n`);

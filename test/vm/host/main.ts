/** The host's checks, in a guest. */
import { mkdirSync } from 'node:fs';
import { FakeEnclave } from '../../support/fake-enclave.ts';
import { runChecks } from '../checks.ts';
import { type Guest, HOST_CHECKS, serveEnclave } from './checks.ts';

mkdirSync('/run/qv', { mode: 0o700 });
const guest: Guest = { enclave: new FakeEnclave('test'), host: undefined, url: '' };
await serveEnclave(guest.enclave);
process.exit((await runChecks(HOST_CHECKS, guest)) ? 0 : 1);

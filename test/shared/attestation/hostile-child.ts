/** Verifies the file named and prints the code of the first failure. Started by hostile.test.ts with little memory. */
import { readFileSync } from 'node:fs';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';

const [, , file = ''] = process.argv;
const pcrSets = [{ name: 'none', pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) }];
console.log('ready');
const report = await verifyAttestation(readFileSync(file), { mode: { kind: 'replay' }, pcrSets });
console.log(report.ok ? 'ok' : report.failure.code);

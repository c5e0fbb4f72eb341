/** The stop button under full load: freeze, look at what still came, resume, again. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { addressOf, bootIdOf } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { renderResumeStatement } from '@quantumvault/shared/evidence/succession.ts';
import type { Stack } from '../stack/stack.ts';
import { type Answered, type Load, loadWallet, startLoad } from './signing-load.ts';

const CONNECTIONS = 64;
const SCOPE = 'fleet';

export interface FreezeLoadReport {
  readonly freezes: number;
  readonly signatures: number;
  /** Released although their leaf comes after a freeze's. */
  readonly released: readonly Answered[];
  /** Signed although they were asked for after the acknowledgement had arrived. */
  readonly late: readonly Answered[];
  /** Milliseconds from the order to its acknowledgement, and to the last signature that arrived. */
  readonly toAcknowledgement: Percentiles;
  readonly toLastSignature: Percentiles;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface Frozen {
  readonly orderedAtMs: number;
  readonly acknowledgedAtMs: number;
  readonly resumedAtMs: number;
  /** Leaves of the boot's log between which no signature may be. */
  readonly from: bigint;
  readonly to: bigint;
}

export async function freezeLoad(stack: Stack, freezes: number): Promise<FreezeLoadReport> {
  const wallets = await Promise.all(Array.from({ length: 4 }, () => loadWallet(stack)));
  const load = startLoad(stack, wallets, CONNECTIONS);
  const periods: Frozen[] = [];
  try {
    for (let index = 0; index < freezes; index++) {
      await untilSigning(load);
      periods.push(await freezeOnce(stack, 10 + Math.random() * 30));
    }
  } finally {
    await load.stop();
  }
  return report(periods, load.answered);
}

/** A freeze of nothing would measure nothing. */
async function untilSigning(load: Load): Promise<void> {
  const before = load.answered.length;
  for (let waited = 0; waited < 5_000; waited += 5) {
    if (load.answered.slice(before).some(({ status }) => status === 200)) return;
    await sleep(5);
  }
  throw new Error('nothing is signed');
}

async function freezeOnce(stack: Stack, heldMilliseconds: number): Promise<Frozen> {
  const orderedAtMs = performance.now();
  const { enclaves } = await adminCall(stack.adminSocket, 'freeze', { scope: SCOPE, reason: 'load' });
  const acknowledgedAtMs = performance.now();
  const [enclave] = enclaves;
  if (enclave?.held !== true) throw new Error(`the enclave does not hold: ${JSON.stringify(enclaves)}`);
  const { sequence, freezeId, boot } = decodeLeaf(fromBase64(enclave.receipt.leaf));
  await sleep(heldMilliseconds);
  const resumedAtMs = performance.now();
  const id = toHex(freezeId ?? new Uint8Array());
  const statement = renderResumeStatement({
    deployment: stack.deployment,
    boot: bootIdOf(fromBase58(boot, 32)),
    scope: SCOPE,
    freezeId: id,
  });
  const signatures = [1, 2].map((index) => {
    const key = createPrivateKey(readFileSync(join(stack.dir, 'operators', `${index}.pem`)));
    const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
    return {
      key: addressOf(Uint8Array.from(publicKey)),
      signature: toBase64(Uint8Array.from(sign(null, utf8(statement), key))),
    };
  });
  // A reply that was half out when the freeze came has cost the host its connection; the next one comes at once.
  const resumed = await insist(() =>
    adminCall(stack.adminSocket, 'resume', { scope: SCOPE, freezeId: id, signatures }),
  );
  const to = decodeLeaf(fromBase64(resumed.receipt.leaf)).sequence;
  return { orderedAtMs, acknowledgedAtMs, resumedAtMs, from: sequence, to };
}

async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (codeOf(error) !== 'enclave_unavailable' || attempt === 50) throw error;
      await sleep(20);
    }
  }
}

function report(periods: readonly Frozen[], answered: readonly Answered[]): FreezeLoadReport {
  const signed = answered.filter(({ status }) => status === 200);
  const within = ({ sequence = 0n }: Answered) => periods.some(({ from, to }) => sequence > from && sequence < to);
  const late = signed.filter(({ sentAtMs, receivedAtMs }) =>
    periods.some((period) => sentAtMs > period.acknowledgedAtMs && receivedAtMs < period.resumedAtMs),
  );
  const lastSignature = periods.map(({ orderedAtMs, resumedAtMs }) => {
    const after = signed.filter(({ receivedAtMs }) => receivedAtMs > orderedAtMs && receivedAtMs < resumedAtMs);
    return Math.max(0, ...after.map(({ receivedAtMs }) => receivedAtMs - orderedAtMs));
  });
  return {
    freezes: periods.length,
    signatures: signed.length,
    released: signed.filter(within),
    late,
    toAcknowledgement: percentiles(periods.map(({ orderedAtMs, acknowledgedAtMs }) => acknowledgedAtMs - orderedAtMs)),
    toLastSignature: percentiles(lastSignature),
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

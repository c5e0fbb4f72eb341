/**
 * The stop button without a host (design 9): the order is left on disk for the host's next start, durably, and then
 * given to the enclave over its control address.
 */
import { randomBytes } from 'node:crypto';
import { chmod, lstat, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  formatTransportAddress,
  parseTransportAddress,
  type Transport,
  type TransportAddress,
} from '@quantumvault/shared/transport.ts';
import { type HostConfig, parseHostConfig } from '../config.ts';
import { EnclaveClient } from '../enclave/client.ts';
import { encodeMarker, PART } from '../freeze-marker.ts';
import type { EnclaveHold, Hold } from '../freeze-report.ts';
import type { FreezeRecord } from '../store/store.ts';
import { hostTransport } from '../transport.ts';
import { receiptJson, signedBytesJson } from '../wire-json.ts';
import { within } from '../within.ts';
import type { Arguments, OptionSpec } from './command.ts';
import { readInput } from './input.ts';

export const DIRECT_OPTIONS = {
  config: { value: '<file>', help: 'the host’s configuration: where to go when the host does not answer' },
  control: { value: '<address>', help: 'the enclave’s control address, instead of the configuration’s' },
  markers: { value: '<dir>', help: 'where orders are left for the host, instead of the configuration’s' },
} as const satisfies Record<string, OptionSpec>;

export interface Direct {
  readonly control: TransportAddress;
  readonly markers: string;
}

interface Ways {
  /** The file named by --config, if it can be read: an order that needs none is not held up by one that cannot. */
  readonly config: HostConfig | undefined;
  /** Undefined when nothing says where. @throws QvError what is wrong with the file */
  readonly find: () => Direct | undefined;
}

/** @throws QvError usage_invalid, address_malformed */
export function directOptions(args: Arguments): Ways {
  const control = args.optional('control');
  const markers = args.optional('markers');
  if ((control === undefined) !== (markers === undefined))
    throw new QvError('usage_invalid', { value: '--control and --markers belong together' });
  const named = control !== undefined && markers !== undefined && { control: parseTransportAddress(control), markers };
  let config: HostConfig | undefined;
  let fault: unknown;
  try {
    const path = args.optional('config');
    if (path !== undefined) config = parseHostConfig(readInput(path));
  } catch (error) {
    fault = error;
  }
  return {
    config,
    find: () => {
      if (named !== false) return named;
      if (fault !== undefined) throw fault;
      return config && { control: config.enclave.control, markers: config.freezeMarkers };
    },
  };
}

export type MarkerHold = { readonly path: string } & Hold;

export interface DirectReport {
  readonly marker: MarkerHold;
  readonly enclave: EnclaveHold;
  /** As the enclave names it. */
  readonly deployment: string | undefined;
  /** Writes into the order on disk which freeze it became, so that the host need not give it again. */
  readonly acknowledge: (by: Required<Pick<FreezeRecord, 'boot' | 'freezeId'>>) => Promise<void>;
}

/** Fails in no way: what does not hold is part of the report. @param started when the order was given, performance.now() */
export async function freezeDirectly(
  { control, markers }: Direct,
  { scope, reason }: { readonly scope: string; readonly reason: string },
  started: number,
  transport: Transport = hostTransport(),
): Promise<DirectReport> {
  const record: FreezeRecord = { scope, reason, latchedAt: timeMs(Date.now()) };
  const path = join(markers, `${record.latchedAt}-${toHex(randomBytes(8))}.json`);
  const marker: MarkerHold = { path, ...(await hold(started, () => writeMarker(path, record))) };
  const told = await tell(control, { scope, reason }, started, transport);
  return {
    marker,
    ...told,
    acknowledge: async (by) => {
      if (!marker.held) return;
      // Taken already: writing it again would be another order.
      if ((await lstat(path).catch(() => undefined)) === undefined) return;
      await within(LIMITS.freezeTimeoutMilliseconds, writeMarker(path, { ...record, ...by })).catch(() => undefined);
    },
  };
}

/** A disk that hangs must not keep the order from the enclave. */
async function hold(started: number, work: () => Promise<void>): Promise<Hold> {
  try {
    await within(LIMITS.freezeTimeoutMilliseconds, work());
    return { held: true, at: new Date().toISOString(), elapsedMilliseconds: Math.round(performance.now() - started) };
  } catch (error) {
    const code: ErrorCode = codeOf(error) === 'internal' ? 'output_unwritable' : codeOf(error);
    return { held: false, code };
  }
}

/** There whole, after a power cut too, or not at all: file and directory are both brought to the disk. */
async function writeMarker(path: string, record: FreezeRecord): Promise<void> {
  const part = `${path}${PART}`;
  try {
    const file = await open(part, 'wx', 0o644);
    try {
      await file.writeFile(encodeMarker(record));
      await file.sync();
    } finally {
      await file.close();
    }
    // The host may be another user; the directory says who sees it.
    await chmod(part, 0o644);
    await rename(part, path);
  } catch (error) {
    await unlink(part).catch(() => undefined);
    throw error;
  }
  const directory = await open(join(path, '..'), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

async function tell(
  address: TransportAddress,
  order: { readonly scope: string; readonly reason: string },
  started: number,
  transport: Transport,
): Promise<Pick<DirectReport, 'enclave' | 'deployment'>> {
  const enclave = formatTransportAddress(address);
  const client = new EnclaveClient({ address, transport, log: QUIET });
  const timeoutMilliseconds = LIMITS.freezeTimeoutMilliseconds;
  try {
    client.connect();
    const asked = client.request(
      'freeze',
      { ...order, by: 'qv, without the host', orderedAt: timeMs(Date.now()) },
      { timeoutMilliseconds },
    );
    const status = client.request('status', {}, { timeoutMilliseconds }).catch(() => undefined);
    const { ack, receipt } = await asked;
    const held = {
      held: true,
      at: new Date().toISOString(),
      elapsedMilliseconds: Math.round(performance.now() - started),
    } as const;
    return {
      enclave: { enclave, ...held, ack: signedBytesJson(ack), receipt: receiptJson(receipt) },
      deployment: (await status)?.deployment,
    };
  } catch (error) {
    return { enclave: { enclave, held: false, code: codeOf(error) }, deployment: undefined };
  } finally {
    client.close();
  }
}

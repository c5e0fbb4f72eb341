/**
 * Orders and leases as files, JSON with the signed bytes (canonical CBOR) in base64:
 *
 *   {"format": "qv/release-order-file/v1", "order": {"bytes", "signatures": [{"key", "signature"}, …]}}
 *   {"format": "qv/lease-file/v1", "leases": [{"bytes", "signatures"}, …]}
 *
 * Nothing in them is believed before it is shown: whoever signs, signs what the bytes say.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  type Lease,
  leaseCodec,
  type OperatorSigned,
  type ReleaseOrder,
  releaseOrderCodec,
} from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { operatorSignedJson, readOperatorSigned } from '../../admin/succession-json.ts';
import { writeAtomically } from '../atomic-file.ts';
import { readInput } from '../input.ts';

const ORDER_FORMAT = 'qv/release-order-file/v1';
const LEASE_FORMAT = 'qv/lease-file/v1';

export interface OrderFile {
  readonly signed: OperatorSigned;
  readonly order: ReleaseOrder;
}

export interface LeaseEntry {
  readonly signed: OperatorSigned;
  readonly lease: Lease;
}

/** @throws QvError input_unreadable, json_malformed, field_malformed, message_malformed, … */
export function readOrderFile(path: string): OrderFile {
  const fields = opened(path, ORDER_FORMAT, LIMITS.cliInputBytes);
  const signed = readOperatorSigned(fields.required('order'), 'order');
  fields.end();
  return { signed, order: decodeAs(releaseOrderCodec, signed.bytes, 'order') };
}

export async function writeOrderFile(path: string, signed: OperatorSigned): Promise<void> {
  await write(path, { format: ORDER_FORMAT, order: operatorSignedJson(signed) });
}

/** Of one predecessor and one successor. @throws QvError as readOrderFile; field_malformed */
export function readLeaseFile(path: string): readonly [LeaseEntry, ...LeaseEntry[]] {
  const fields = opened(path, LEASE_FORMAT, LIMITS.cliLeaseBytes);
  const [first, ...rest] = fields.list('leases').map((item, index) => {
    const signed = readOperatorSigned(item, `leases[${index}]`);
    return { signed, lease: decodeAs(leaseCodec, signed.bytes, `leases[${index}]`) };
  });
  fields.end();
  if (first === undefined) throw fields.fault('leases', 'none');
  for (const { lease } of rest)
    for (const key of ['deployment', 'predecessor', 'successor', 'notAfter'] as const)
      if (lease[key] !== first.lease[key]) throw fields.fault('leases', `not one ${key}`);
  const wallets = [first, ...rest].flatMap(({ lease }) => lease.wallets.map(({ wallet }) => wallet));
  if (new Set(wallets).size !== wallets.length) throw fields.fault('leases', 'one wallet twice');
  return [first, ...rest];
}

export async function writeLeaseFile(path: string, leases: readonly OperatorSigned[]): Promise<void> {
  await write(path, { format: LEASE_FORMAT, leases: leases.map(operatorSignedJson) });
}

function opened(path: string, format: string, maxBytes: number): JsonFields {
  const fields = new JsonFields(parseStrictJson(readInput(path, maxBytes)));
  if (fields.text('format') !== format)
    throw new QvError('field_malformed', { path: 'format', value: `not ${format}` });
  return fields;
}

const write = (path: string, value: unknown): Promise<void> =>
  writeAtomically(path, `${JSON.stringify(value, undefined, 2)}\n`);

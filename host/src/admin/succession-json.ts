/** What operators sign, and sealed states, as JSON carries them. */
import { address, type Signature } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import type { OperatorSigned, SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface OperatorSignedJson {
  /** base64 */
  readonly bytes: string;
  /** Operator in base58, signature in base64. */
  readonly signatures: readonly { readonly key: string; readonly signature: string }[];
}

export interface StateJson {
  /** base64 */
  readonly blob: string;
  /** decimal */
  readonly version: string;
}

export interface SealedState {
  readonly blob: Uint8Array;
  readonly version: bigint;
}

export function operatorSignedJson({ bytes, signatures }: OperatorSigned): OperatorSignedJson {
  return {
    bytes: toBase64(bytes),
    signatures: signatures.map(({ key, signature }) => ({ key, signature: toBase64(signature) })),
  };
}

/** @throws QvError field_malformed, base64_malformed, base58_malformed */
export function readOperatorSigned(value: JsonValue | undefined, path: string): OperatorSigned {
  const fields = new JsonFields(value, path);
  const bytes = fromBase64(fields.text('bytes'), fields.path('bytes'));
  if (bytes.length === 0 || bytes.length > LIMITS.frameBytes) throw fields.fault('bytes', `${bytes.length} bytes`);
  const signatures = fields.list('signatures').map((item, index) => readSignedBy(item, `${path}.signatures[${index}]`));
  if (signatures.length > LIMITS.operators) throw fields.fault('signatures', `more than ${LIMITS.operators}`);
  fields.end();
  return { bytes, signatures };
}

function readSignedBy(value: JsonValue, path: string): SignedBy {
  const fields = new JsonFields(value, path);
  const key = address(fields.text('key'), fields.path('key'));
  const signature = fromBase64(fields.text('signature'), fields.path('signature'));
  if (signature.length !== 64) throw fields.fault('signature', `${signature.length} bytes`);
  fields.end();
  return { key, signature: signature as Signature };
}

export function stateJson({ blob, version }: SealedState): StateJson {
  return { blob: toBase64(blob), version: String(version) };
}

/** @throws QvError field_malformed, base64_malformed */
export function readState(value: JsonValue | undefined, path: string): SealedState {
  const fields = new JsonFields(value, path);
  const blob = fromBase64(fields.text('blob'), fields.path('blob'));
  const version = fields.text('version');
  if (!/^(?:0|[1-9]\d{0,18})$/.test(version)) throw fields.fault('version', 'not a decimal');
  fields.end();
  return { blob, version: BigInt(version) };
}

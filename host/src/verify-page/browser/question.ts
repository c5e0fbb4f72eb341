/** What the form asks, parsed by the same functions as the command line's. */
import { parseCertificate } from '@quantumvault/shared/attestation/certificate.ts';
import { type EncodedDocument, readDocument } from '@quantumvault/shared/attestation/encodings.ts';
import type { Expectations } from '@quantumvault/shared/attestation/expectations.ts';
import { type PcrSet, parsePcrSets, pcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { fromBase64, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { ReceiptExpectations } from '@quantumvault/shared/evidence/receipt-checklist.ts';
import { looksLikeReceipt } from '@quantumvault/shared/evidence/receipt-file.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';

export interface FormValues {
  readonly file: File | undefined;
  readonly pasted: string;
  readonly pcrs: string;
  readonly nonce: string;
  readonly allowDebug: boolean;
  readonly root: string;
  /** For receipts: verifier keys, one per line, and how many of them have to have cosigned. */
  readonly witnesses: string;
  readonly threshold: string;
}

export type Input =
  | { readonly kind: 'document'; readonly document: EncodedDocument }
  | { readonly kind: 'receipt'; readonly bytes: Uint8Array };

/** A receipt is JSON, which no form of a document begins like. @throws QvError body_too_large, attestation_encoding_unknown */
export async function inputOf(form: FormValues): Promise<Input> {
  const bytes = await bytesOf(form);
  return looksLikeReceipt(bytes) ? { kind: 'receipt', bytes } : { kind: 'document', document: readDocument(bytes) };
}

async function bytesOf({ file, pasted }: FormValues): Promise<Uint8Array> {
  if (file === undefined) return utf8(pasted.trim());
  if (file.size > LIMITS.cliInputBytes) throw new QvError('body_too_large', { path: file.name });
  return new Uint8Array(await file.arrayBuffer());
}

/** @throws QvError attestation_expectations_invalid, json_malformed, hex_malformed, attestation_pcr_set_malformed */
export function expectationsOf({ pcrs, nonce, allowDebug, root }: FormValues): Expectations {
  return {
    mode: { kind: 'replay', ...(nonce.trim() !== '' && { nonce: fromHex(nonce.trim(), 'nonce') }) },
    pcrSets: expectedSets(pcrs.trim()),
    allowDebug,
    ...(root.trim() !== '' && { unsafeTrustedRootDer: rootOf(root.trim()) }),
  };
}

/** @throws QvError as expectationsOf does; log_key_malformed */
export function receiptExpectationsOf(form: FormValues): ReceiptExpectations {
  const { mode, ...expected } = expectationsOf(form);
  // Ignored, it would look as if it had been compared.
  if (mode.nonce !== undefined) throw new QvError('attestation_expectations_invalid', { path: 'nonce' });
  const witnesses = form.witnesses.split(/\s+/).filter(Boolean).map(parseVerifierKey);
  const threshold = form.threshold.trim();
  const isNumber = /^\d{1,3}$/.test(threshold);
  if (threshold !== '' && !isNumber)
    throw new QvError('attestation_expectations_invalid', { path: 'witnessThreshold' });
  return { ...expected, witnesses, witnessThreshold: isNumber ? Number(threshold) : witnesses.length };
}

function expectedSets(text: string): readonly PcrSet[] {
  if (/^[[{]/.test(text)) return parsePcrSets(utf8(text), 'the pasted set');
  const lines = text.split(/\s+/).filter(Boolean);
  return lines.map((hex) => pcrSet('the pasted PCR0', new Map([[0, fromHex(hex, 'PCR0')]])));
}

const PEM = /^-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END CERTIFICATE-----$/;

function rootOf(text: string): Uint8Array {
  const body = PEM.exec(text)?.[1];
  if (body === undefined) throw new QvError('attestation_certificate_malformed', { path: 'root', value: 'not PEM' });
  return parseCertificate(fromBase64(body.replace(/\s/g, ''), 'root'), 'root').der;
}

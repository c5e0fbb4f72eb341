/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/, Recommendation of 2021, and the random flag of Level 2).
 * Supported: `traceparent` of version 00 and of later ones as far as 00 goes, and `tracestate`. Whoever calls may send
 * anything, so what does not hold to the letter is as if it were not there, and what does is 32 hex digits in a log.
 */
import { randomFillSync } from 'node:crypto';

export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 of them: our own part of the trace. */
  readonly spanId: string;
  /** The caller's part; undefined when the trace begins here. */
  readonly parentId: string | undefined;
  /** Bit 0: the caller records this trace. Bit 1: the trace id is random. */
  readonly flags: number;
  /** As received, to be passed on; undefined without one, or with one that is not well-formed. */
  readonly state: string | undefined;
}

/** version "-" trace-id "-" parent-id "-" trace-flags (section 3.2), and whatever a later version appends. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZEROS = /^0+$/;
/** Sampled, and random. Bits that version 00 does not know are not passed on (section 3.2.2.5). */
const KNOWN_FLAGS = 0x03;
const RANDOM_FLAG = 0x02;
/** Section 3.3.1.3.1: key "=" value, with optional blanks around. */
const STATE_KEY = /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})$/;
const STATE_VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
/** Section 3.3.1.1: at most 32 members; section 3.3.1.5: at least 512 characters are passed on, and here no more. */
const STATE_MEMBERS = 32;
const STATE_CHARACTERS = 512;

/** A part of our own in the caller's trace, or of a new one. */
export function traceContext(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  random: (bytes: number) => Uint8Array = pooled,
): TraceContext {
  const spanId = randomId(8, random);
  const parent = parseTraceparent(headers['traceparent']);
  if (parent === undefined)
    return { traceId: randomId(16, random), spanId, parentId: undefined, flags: RANDOM_FLAG, state: undefined };
  return { ...parent, spanId, state: parseTracestate(headers['tracestate']) };
}

/** For a call made on behalf of the request: its parent is our own part. */
export function traceHeaders({ traceId, spanId, flags, state }: TraceContext): Record<string, string> {
  const traceparent = `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, '0')}`;
  return state === undefined ? { traceparent } : { traceparent, tracestate: state };
}

function parseTraceparent(header: unknown): Pick<TraceContext, 'traceId' | 'parentId' | 'flags'> | undefined {
  const match = typeof header === 'string' ? TRACEPARENT.exec(header) : null;
  const [, version, traceId, parentId, flags, more] = match ?? [];
  if (version === undefined || traceId === undefined || parentId === undefined || flags === undefined) return undefined;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(parentId)) return undefined;
  return { traceId, parentId, flags: Number.parseInt(flags, 16) & KNOWN_FLAGS };
}

/** The header as it is, if every member of it is well-formed and no key is there twice. */
function parseTracestate(header: unknown): string | undefined {
  if (typeof header !== 'string' || header.length > STATE_CHARACTERS) return undefined;
  // Empty members are allowed between commas (section 3.3.1.1).
  const members = header.split(',').map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''));
  const filled = members.filter((member) => member !== '');
  const keys = new Set<string>();
  for (const member of filled) {
    const [key = '', ...values] = member.split('=');
    if (values.length !== 1 || !STATE_KEY.test(key) || !STATE_VALUE.test(values[0] ?? '')) return undefined;
    keys.add(key);
  }
  if (filled.length === 0 || filled.length > STATE_MEMBERS || keys.size !== filled.length) return undefined;
  return filled.join(',');
}

/** One call of OpenSSL for many ids, which are public: asking for each cost more than all the rest here. */
const POOL = Buffer.alloc(4_096);
let used = POOL.length;

function pooled(bytes: number): Uint8Array {
  if (used + bytes > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  used += bytes;
  return POOL.subarray(used - bytes, used);
}

/** Lower-case hex of so many random bytes, which are not all zero. */
function randomId(bytes: number, random: (bytes: number) => Uint8Array): string {
  for (;;) {
    const id = Buffer.from(random(bytes)).toString('hex');
    if (!ZEROS.test(id)) return id;
  }
}

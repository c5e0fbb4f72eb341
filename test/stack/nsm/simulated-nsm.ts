/**
 * A Nitro Secure Module in software: the request and response bytes of the ioctl on /dev/nsm, registers, and
 * attestation documents under a root of its own. Requests and error names follow AWS's nsm-api and QEMU's device.
 *
 * Subset: no response is ever truncated, and GetRandom draws from the operating system.
 */
import { randomBytes, sign } from 'node:crypto';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { Decoder } from 'cbor-x/index-no-eval';
import { WireMap, type WireValue, wireMap, writeCbor } from './cbor-writer.ts';
import { type Chain, ChainIssuer } from './chain.ts';
import { extendZero, PCR_BYTES, sha384, ZERO_PCR } from './measure.ts';
import { createSimulatedRoot, type SimulatedRoot } from './root.ts';

/** The kernel driver's bound on a request. */
const REQUEST_BYTES = 0x1000;
const MAX_PCRS = 32;
/** The registers the hypervisor fills and locks; the enclave may extend the others. */
const HYPERVISOR_PCRS = 16;
const FIELD_BYTES = 1024;
const RANDOM_BYTES = 256;

export type NsmErrorName =
  | 'InvalidArgument'
  | 'InvalidIndex'
  | 'InvalidResponse'
  | 'ReadOnlyIndex'
  | 'InvalidOperation'
  | 'BufferTooSmall'
  | 'InputTooLarge'
  | 'InternalError';

export interface SimulatedNsmOptions {
  readonly pcr0: Uint8Array;
  readonly pcr1: Uint8Array;
  readonly pcr2: Uint8Array;
  /** `i-` and 17 hex digits. PCR4 comes from it. */
  readonly instanceId: string;
  /** The parent instance's role; PCR3 comes from it and is zero without one. */
  readonly roleArn?: string;
  readonly region?: string;
  /** A debug enclave: PCR0-2 are zero, PCR3 and PCR4 are not. */
  readonly debug?: boolean;
  /** AWS writes the payload map with indefinite length since August 2025. */
  readonly encoding?: 'indefinite' | 'definite';
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly root?: SimulatedRoot;
}

export interface SimulatedNsm {
  readonly moduleId: string;
  readonly rootCertificateDer: Uint8Array;
  readonly rootCertificatePem: string;
  /** The 32 registers as they are now. */
  pcrs(): readonly Uint8Array[];
  /** One ioctl: request bytes in, response bytes out. A refusal is a response, `{"Error": name}`. */
  request(bytes: Uint8Array): Promise<Uint8Array>;
}

class NsmRefusal extends Error {
  readonly nsmError: NsmErrorName;

  constructor(nsmError: NsmErrorName) {
    super(nsmError);
    this.nsmError = nsmError;
  }
}

interface Register {
  value: Uint8Array;
  locked: boolean;
}

const decoder = new Decoder({ useRecords: false, mapsAsObjects: false, tagUint8Array: false });

export async function createSimulatedNsm(options: SimulatedNsmOptions): Promise<SimulatedNsm> {
  const now = options.now ?? Date.now;
  const root = options.root ?? createSimulatedRoot(now());
  return new SoftwareNsm(options, now, root);
}

class SoftwareNsm implements SimulatedNsm {
  readonly moduleId: string;
  readonly rootCertificateDer: Uint8Array;
  readonly rootCertificatePem: string;
  readonly #registers: readonly Register[];
  readonly #issuer: ChainIssuer;
  readonly #indefinite: boolean;
  readonly #now: () => number;

  constructor(options: SimulatedNsmOptions, now: () => number, root: SimulatedRoot) {
    if (!/^i-[0-9a-f]{17}$/.test(options.instanceId)) throw new RangeError('an instance id is i- and 17 hex digits');
    // As observed: the millisecond of the enclave's start, then two random bytes.
    const enclaveId = now().toString(16).padStart(12, '0') + randomBytes(2).toString('hex');
    this.moduleId = `${options.instanceId}-enc${enclaveId}`;
    this.rootCertificateDer = root.certificateDer;
    this.rootCertificatePem = root.certificatePem;
    this.#registers = initialRegisters(options);
    this.#indefinite = options.encoding !== 'definite';
    this.#now = now;
    const region = options.region ?? 'us-east-1';
    this.#issuer = new ChainIssuer(root, { region, instanceId: options.instanceId, enclaveId });
  }

  pcrs(): readonly Uint8Array[] {
    return this.#registers.map((register) => Uint8Array.from(register.value));
  }

  async request(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#answer(bytes);
  }

  #answer(bytes: Uint8Array): Uint8Array {
    try {
      if (bytes.length > REQUEST_BYTES) throw new NsmRefusal('InputTooLarge');
      return writeCbor(this.#perform(parseRequest(bytes)));
    } catch (error) {
      return writeCbor(wireMap({ Error: error instanceof NsmRefusal ? error.nsmError : 'InternalError' }));
    }
  }

  #perform({ name, fields }: NsmRequest): WireValue {
    switch (name) {
      case 'DescribeNSM':
        return wireMap({ DescribeNSM: this.#describe() });
      case 'GetRandom':
        return wireMap({ GetRandom: wireMap({ random: new Uint8Array(randomBytes(RANDOM_BYTES)) }) });
      case 'DescribePCR': {
        const { locked, value } = this.#register(fields);
        return wireMap({ DescribePCR: wireMap({ lock: locked, data: value }) });
      }
      case 'ExtendPCR':
        return wireMap({ ExtendPCR: wireMap({ data: this.#extend(fields) }) });
      case 'LockPCR':
        writable(this.#register(fields)).locked = true;
        return 'LockPCR';
      case 'LockPCRs': {
        const range = unsigned(fields, 'range');
        if (range > MAX_PCRS) throw new NsmRefusal('InvalidIndex');
        for (const register of this.#registers.slice(0, range)) register.locked = true;
        return 'LockPCRs';
      }
      case 'Attestation':
        return wireMap({ Attestation: wireMap({ document: this.#document(fields) }) });
      default:
        throw new NsmRefusal('InvalidOperation');
    }
  }

  #describe(): WireMap {
    const locked = this.#registers.flatMap((register, index) => (register.locked ? [index] : []));
    return wireMap({
      version_major: 1,
      version_minor: 0,
      version_patch: 0,
      module_id: this.moduleId,
      max_pcrs: MAX_PCRS,
      locked_pcrs: locked,
      digest: 'SHA384',
    });
  }

  #register(fields: Fields): Register {
    const register = this.#registers[unsigned(fields, 'index')];
    if (register === undefined) throw new NsmRefusal('InvalidIndex');
    return register;
  }

  #extend(fields: Fields): Uint8Array {
    const register = writable(this.#register(fields));
    const data = fields.get('data');
    if (!(data instanceof Uint8Array)) throw new NsmRefusal('InvalidArgument');
    register.value = sha384(register.value, data);
    return register.value;
  }

  #document(fields: Fields): Uint8Array {
    const publicKey = optionalBytes(fields, 'public_key');
    const userData = optionalBytes(fields, 'user_data');
    const nonce = optionalBytes(fields, 'nonce');
    const timestamp = this.#now();
    const chain = this.#issuer.at(timestamp);
    const payload = new WireMap(
      [
        ['module_id', this.moduleId],
        ['digest', 'SHA384'],
        ['timestamp', BigInt(timestamp)],
        ['pcrs', this.#attestedPcrs()],
        ['certificate', chain.leaf.der],
        ['cabundle', chain.cabundle],
        ['public_key', publicKey],
        ['user_data', userData],
        ['nonce', nonce],
      ],
      this.#indefinite,
    );
    return coseSign1(writeCbor(payload), chain);
  }

  /** The hypervisor's registers always, the enclave's own once they are in use. */
  #attestedPcrs(): WireMap {
    const entries = this.#registers.map((register, index) => [index, register] as const);
    const shown = entries.filter(
      ([index, register]) => index < HYPERVISOR_PCRS || register.locked || register.value.some((byte) => byte !== 0),
    );
    return new WireMap(shown.map(([index, register]) => [index, register.value] as const));
  }
}

function initialRegisters(options: SimulatedNsmOptions): Register[] {
  const { pcr0, pcr1, pcr2 } = options;
  const image = options.debug === true ? [ZERO_PCR, ZERO_PCR, ZERO_PCR] : [pcr0, pcr1, pcr2];
  if (image.some((value) => value.length !== PCR_BYTES)) throw new RangeError('a PCR has 48 bytes');
  const role = options.roleArn === undefined ? ZERO_PCR : extendZero(utf8(options.roleArn));
  const values = [...image, role, extendZero(utf8(options.instanceId))];
  return Array.from({ length: MAX_PCRS }, (_, index) => ({
    value: Uint8Array.from(values[index] ?? ZERO_PCR),
    locked: index < HYPERVISOR_PCRS,
  }));
}

/** An untagged COSE_Sign1 (RFC 9052 section 4.2) with the headers AWS sends: protected {1: -35}, unprotected {}. */
function coseSign1(payload: Uint8Array, chain: Chain): Uint8Array {
  const protectedHeader = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);
  const toBeSigned = writeCbor(['Signature1', protectedHeader, new Uint8Array(), payload]);
  // 96 bytes r||s, as COSE wants them (RFC 9053 section 2.1).
  const key = { key: chain.leaf.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const signature = new Uint8Array(sign('sha384', toBeSigned, key));
  return writeCbor([protectedHeader, new WireMap([]), payload, signature]);
}

type Fields = ReadonlyMap<unknown, unknown>;
interface NsmRequest {
  readonly name: unknown;
  readonly fields: Fields;
}

function parseRequest(bytes: Uint8Array): NsmRequest {
  let value: unknown;
  try {
    value = decoder.decode(bytes);
  } catch {
    throw new NsmRefusal('InvalidOperation');
  }
  if (value === 'DescribeNSM' || value === 'GetRandom') return { name: value, fields: new Map() };
  if (!(value instanceof Map) || value.size !== 1) throw new NsmRefusal('InvalidOperation');
  const [[name, fields] = []] = value;
  if (!(fields instanceof Map)) throw new NsmRefusal('InvalidOperation');
  return { name, fields };
}

function writable(register: Register): Register {
  if (register.locked) throw new NsmRefusal('ReadOnlyIndex');
  return register;
}

function unsigned(fields: Fields, key: string): number {
  const value = fields.get(key);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new NsmRefusal('InvalidArgument');
  }
  return value;
}

function optionalBytes(fields: Fields, key: string): Uint8Array | null {
  const value = fields.get(key) ?? null;
  if (value === null) return null;
  if (!(value instanceof Uint8Array)) throw new NsmRefusal('InvalidArgument');
  if (value.length > FIELD_BYTES) throw new NsmRefusal('InputTooLarge');
  return Uint8Array.from(value);
}

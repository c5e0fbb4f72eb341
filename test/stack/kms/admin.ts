/**
 * The side door of the local KMS for tests: a Unix socket with one JSON command per frame and one JSON answer per
 * command, in order. It injects faults, rotates credentials, shifts the clock and reports what was called.
 */
import type { Duplex } from 'node:stream';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { type Listener, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import type { CallRecord, FaultRule, OperationCounts } from './faults.ts';
import type { LocalKms } from './server.ts';
import type { Principal } from './sigv4.ts';

type Command = {
  /** Default: the first one. */
  readonly region?: string;
} & (
  | { readonly command: 'setFaults'; readonly rules: readonly FaultRule[] }
  | { readonly command: 'counts' }
  | { readonly command: 'calls'; readonly last: number }
  | { readonly command: 'clearCalls' }
  | { readonly command: 'setPrincipals'; readonly principals: readonly Principal[] }
  | { readonly command: 'setClockOffset'; readonly milliseconds: number }
  | { readonly command: 'setReachable'; readonly isReachable: boolean }
);

/** Keeps an answer within one frame. */
const MAX_CALLS = 64;

export function serveAdmin(regions: ReadonlyMap<string, LocalKms>, address: string): Promise<Listener> {
  return unixTransport.listen(parseTransportAddress(address), (stream: Duplex) => {
    let done = Promise.resolve();
    readFrames(stream, (frame) => {
      const command = JSON.parse(Buffer.from(frame).toString()) as Command;
      done = done.then(async () => {
        const [first] = regions.values();
        const kms = command.region === undefined ? first : regions.get(command.region);
        const answer = kms === undefined ? undefined : await perform(kms, command);
        writeFrame(stream, Buffer.from(JSON.stringify(answer ?? null)));
      });
    });
    stream.on('end', () => stream.end());
    stream.on('error', () => undefined);
  });
}

function perform(kms: LocalKms, command: Command): unknown {
  switch (command.command) {
    case 'setFaults':
      return kms.faults.set(command.rules);
    case 'counts':
      return kms.calls.counts();
    case 'calls':
      return kms.calls.last(Math.min(command.last, MAX_CALLS));
    case 'clearCalls':
      return kms.calls.clear();
    case 'setPrincipals':
      kms.principals = command.principals;
      return undefined;
    case 'setClockOffset':
      kms.clockOffsetMilliseconds = command.milliseconds;
      return undefined;
    case 'setReachable':
      return kms.setReachable(command.isReachable);
  }
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** What a test holds. */
export class KmsAdmin {
  readonly #stream: Duplex;
  readonly #waiting: Waiting[] = [];
  readonly #region: string | undefined;

  /** @param region which of several; the first one by default */
  constructor(address: string, region?: string) {
    this.#region = region;
    this.#stream = unixTransport.connect(parseTransportAddress(address));
    readFrames(this.#stream, (frame) => this.#waiting.shift()?.resolve(JSON.parse(Buffer.from(frame).toString())));
    this.#stream.on('error', (error) => this.#fail(error));
    this.#stream.on('end', () => this.#stream.destroy());
    this.#stream.on('close', () => this.#fail(new Error('the admin socket is closed')));
  }

  /** Replaces all rules. Faults of several matching rules add up. */
  async setFaults(...rules: readonly FaultRule[]): Promise<void> {
    await this.#send({ command: 'setFaults', rules });
  }

  async clearFaults(): Promise<void> {
    await this.setFaults();
  }

  /** Since the start or the last clearCalls, over at most the last 1000 calls; by operation name. */
  async counts(): Promise<Readonly<Record<string, OperationCounts>>> {
    return (await this.#send({ command: 'counts' })) as Readonly<Record<string, OperationCounts>>;
  }

  /** At most 64, oldest first. */
  async calls(last = MAX_CALLS): Promise<readonly CallRecord[]> {
    return (await this.#send({ command: 'calls', last })) as readonly CallRecord[];
  }

  async clearCalls(): Promise<void> {
    await this.#send({ command: 'clearCalls' });
  }

  /** Credentials not listed any more are refused from the next call on. */
  async setPrincipals(principals: readonly Principal[]): Promise<void> {
    await this.#send({ command: 'setPrincipals', principals });
  }

  async setClockOffset(milliseconds: number): Promise<void> {
    await this.#send({ command: 'setClockOffset', milliseconds });
  }

  /** False hangs up on everybody and takes no connections, until true. */
  async setReachable(isReachable: boolean): Promise<void> {
    await this.#send({ command: 'setReachable', isReachable });
  }

  close(): void {
    this.#stream.destroy();
  }

  #send(command: Command): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#stream.destroyed) return reject(new Error('the admin socket is closed'));
      this.#waiting.push({ resolve, reject });
      const region = this.#region;
      writeFrame(this.#stream, Buffer.from(JSON.stringify({ ...command, ...(region && { region }) })));
    });
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/**
 * The kms-agent as the vault process has it at its side: questions and answers over one socket. It may hang, end, or not
 * start; then another one is started, and gets the credentials of the one before.
 */
import type { Duplex } from 'node:stream';
import { QvError } from '@quantumvault/shared/errors.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/message-parts.ts';
import {
  type AgentMessageName,
  type AgentReply,
  type AgentRequest,
  decodeAgentReply,
  encodeAgentRequest,
} from './kms-agent/protocol.ts';

interface Waiting {
  readonly settle: (read: ReturnType<typeof decodeAgentReply>['read']) => void;
  readonly fail: (error: QvError) => void;
}

/** Starts the agent's process and returns the socket to it, closed when the process ends. */
export type StartAgent = () => Duplex;

/** Pauses between starts of an agent that keeps ending. */
const RESTART_MS = [0, 200, 1_000, 5_000] as const;

export class AgentLink {
  readonly #start: StartAgent;
  readonly #waiting = new Map<number, Waiting>();
  #agent: Duplex | undefined;
  #credentials: CredentialBytes | undefined;
  #nextId = 1;
  #restarts = 0;

  /** @throws whatever the first start throws */
  constructor(start: StartAgent) {
    this.#start = start;
    this.#connect();
  }

  get hasCredentials(): boolean {
    return this.#credentials !== undefined;
  }

  /** Hands the instance role's credentials over, now and to each agent started later. */
  async setCredentials(credentials: CredentialBytes): Promise<void> {
    await this.ask('credentials', credentials);
    this.#credentials = credentials;
  }

  /** @throws QvError kms_unavailable, and the agent's own failure */
  ask<N extends AgentMessageName>(
    name: N,
    body: AgentRequest<N>,
    limitMs: number = LIMITS.kmsTotalMilliseconds,
  ): Promise<AgentReply<N>> {
    const agent = this.#agent;
    if (agent === undefined) return Promise.reject(new QvError('kms_unavailable', { value: 'agent not running' }));
    const id = this.#nextId;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      // The SDK retries inside this time; an agent that hangs altogether is cut off by it.
      const timer = setTimeout(
        () => waiting.fail(new QvError('kms_unavailable', { value: 'no answer in time' })),
        limitMs,
      );
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      const waiting: Waiting = {
        settle: (read) => {
          done();
          try {
            resolve(read(name));
          } catch (error) {
            reject(error);
          }
        },
        fail: (error) => {
          done();
          reject(error);
        },
      };
      this.#waiting.set(id, waiting);
      writeFrame(agent, encodeAgentRequest(id, name, body));
      // It has not read for long: what is given up on stays in this buffer. The next agent reads.
      if (agent.writableLength > LIMITS.inFlightBytes) agent.destroy();
    });
  }

  #connect(): void {
    const agent = this.#start();
    this.#agent = agent;
    readFrames(agent, (payload) => {
      const { id, read } = decodeAgentReply(payload);
      this.#restarts = 0;
      this.#waiting.get(id)?.settle(read);
    });
    agent.on('error', () => undefined);
    agent.once('close', () => {
      this.#agent = undefined;
      for (const waiting of [...this.#waiting.values()]) waiting.fail(new QvError('kms_unavailable'));
      this.#reconnect();
    });
    const credentials = this.#credentials;
    // A failure shows at the next call; the host hands fresh ones over at its next refresh anyway.
    if (credentials !== undefined) this.ask('credentials', credentials).catch(() => undefined);
  }

  /** Want of memory or processes passes, and must not end the process that holds the wallets. */
  #reconnect(): void {
    const again = (): void => {
      try {
        this.#connect();
      } catch {
        this.#reconnect();
      }
    };
    setTimeout(again, RESTART_MS[Math.min(this.#restarts++, RESTART_MS.length - 1)]);
  }
}

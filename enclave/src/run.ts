/**
 * The vault process around a boot: its kms-agent, its end, its log. Shared by the production entry and the local
 * stack's, which differ in what they hand in.
 */
import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { endOnFaults } from '@quantumvault/shared/faults.ts';
import { formatTransportAddress, type Transport, type TransportAddress } from '@quantumvault/shared/transport.ts';
import { boot } from './boot.ts';
import { freezeIntrinsics, sealModules } from './hardening.ts';
import type { LegacyCiphers } from './migration/legacy-keys.ts';
import { agentFlags } from './node-flags.ts';
import type { NsmDevice } from './nsm.ts';
import type { RecipientKeys, WipeTraces } from './vault.ts';

export interface VaultProcess {
  readonly configBytes: Uint8Array;
  /** Where the kms-agent reads the same configuration. */
  readonly configPath: string;
  readonly nsm: NsmDevice;
  readonly mixRandomness: (bytes: Uint8Array) => void;
  readonly recipientKeys: RecipientKeys;
  readonly legacyCiphers: LegacyCiphers;
  readonly wipeTraces: WipeTraces;
  readonly transport: Transport;
  readonly data: TransportAddress;
  readonly control: TransportAddress;
  readonly agent: {
    readonly file: string;
    /** The host's end of the way to KMS. */
    readonly tunnel: TransportAddress;
    /** User and group it runs as; default this process's own. */
    readonly user?: number;
  };
  /** Sets the system's clock, which the kms-agent's TLS goes by. */
  readonly setClock?: (milliseconds: number) => void;
}

const log = (line: string): void => void process.stderr.write(`enclave: ${line}\n`);

/** Ends this process when the boot fails, or when anything happens that nobody foresaw. Data is never printed. */
export function runVault({ agent, configPath, ...options }: VaultProcess): Promise<void> {
  process.on('SIGTERM', () => process.exit(0));
  endOnFaults(log);
  freezeIntrinsics();
  sealModules();
  const startAgent = (): Duplex => startKmsAgent(agent, configPath);
  return boot({ ...options, startAgent, monotonicMs: () => performance.now(), log }).then(
    () => undefined,
    (error: unknown) => {
      log(`boot failed: ${error instanceof Error ? error.message : 'unknown fault'}`);
      process.exit(1);
    },
  );
}

/** @throws Error when no process can be started */
export function startKmsAgent({ file, tunnel, user }: VaultProcess['agent'], configPath: string): Duplex {
  const args = [...agentFlags(file, configPath), file, configPath, formatTransportAddress(tunnel)];
  const agent = spawn(process.execPath, args, {
    // Nothing on its input; descriptor 3 is its socket to this process. Nothing in its environment but a home that is
    // not there: the AWS SDK asks for one, and Node would look for this user in a database that an image has not.
    env: { HOME: '/nonexistent' },
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    ...(user !== undefined && { uid: user, gid: user }),
  });
  // Without descriptors there is nothing but an error to come.
  const socket = (agent.stdio as typeof agent.stdio | undefined)?.[3] as Duplex | undefined;
  agent.once('error', (error) => {
    log(`kms-agent was not started: ${error.name}`);
    socket?.destroy();
  });
  if (socket === undefined) throw new Error('no socket to the kms-agent');
  agent.once('exit', (code, signal) => {
    log(`kms-agent ended (${code ?? signal})`);
    socket.destroy();
  });
  // One that closes its socket and stays would be beside the next one, as the same user.
  socket.once('close', () => agent.kill('SIGKILL'));
  return socket;
}

/** qv witness: runs until it is told to stop. */
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { formatVerifierKey, isKeyName } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Admission } from '../../witness/admission.ts';
import type { Arguments, Command } from '../command.ts';
import { readPcrSets, readRoot } from '../input.ts';
import { jsonLine } from '../terminal.ts';

export const witness: Command = {
  name: 'witness',
  summary: 'Run a witness: cosign the checkpoints of enclaves’ logs as long as each log only grows.',
  details: [
    'Speaks C2SP tlog-witness over plain HTTP; TLS ends in front of it. It follows a log once it was shown',
    'the log’s leaf 0 with an attestation document of an allowed image. qv init witness makes its directory.',
    'When it listens, it prints one line of JSON with its URL and verifier key; logs go to standard error.',
    'Ends with 0 after SIGTERM or SIGINT.',
  ],
  options: {
    dir: { value: '<dir>', help: 'the directory that qv init witness made', required: true },
    listen: { value: '<host:port>', help: 'where HTTP listens; port 0 lets the system choose', required: true },
    'log-origin': { value: '<prefix>', help: 'the logOrigin measured into the enclaves', required: true },
    pcrs: {
      value: '<file>',
      help: 'measurements of allowed images, as nitro-cli prints them',
      required: true,
      multiple: true,
    },
    'config-hash': { value: '<hex>', help: 'SHA-256 that the enclaves’ configuration must have' },
    'unsafe-trusted-root': { value: '<file>', help: 'UNSAFE: believe this root instead of AWS’s; for local stacks' },
    'exit-with-parent': { help: 'end, too, when standard input ends' },
  },
  run: async (args, { stdout, stderr }) => {
    // HTTP, logger and database take their time to load: only this command waits for them.
    const [{ createLog }, { startWitness }] = await Promise.all([
      import('../../log.ts'),
      import('../../witness/start.ts'),
    ]);
    // Its memory is for this user alone.
    process.umask(0o077);
    const listen = parseListen(args.text('listen'));
    const admission = admissionOf(args);
    const log = createLog('info', stderr);
    const running = await startWitness({ dir: args.text('dir'), listen, admission, log });
    if (admission.unsafeTrustedRootDer !== undefined) log.warn({}, 'UNSAFE: another root than AWS’s is trusted');
    const stopped = untilStopped(args.flag('exit-with-parent'));
    stdout.write(`${jsonLine({ ready: true, url: running.url, key: formatVerifierKey(running.key) })}\n`);
    await stopped;
    await running.close();
    return { exit: 'ok', json: { stopped: true }, text: () => [] };
  },
};

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** `127.0.0.1:8080`, `[::1]:8080`, `host:8080` */
function parseListen(text: string): { host: string; port: number } {
  const [, six, four, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = six ?? four;
  const port = Number(digits);
  if (host === undefined || port > 0xffff) throw wrong('--listen is not host:port');
  return { host, port };
}

function admissionOf(args: Arguments): Admission {
  const configHash = args.optional('config-hash');
  const root = args.optional('unsafe-trusted-root');
  const logOrigin = args.text('log-origin');
  if (!isKeyName(logOrigin)) throw wrong('--log-origin is no name of a log');
  return {
    pcrSets: args.list('pcrs').flatMap(readPcrSets),
    logOrigin,
    ...(configHash !== undefined && { configHash: parseConfigHash(configHash) }),
    ...(root !== undefined && { unsafeTrustedRootDer: readRoot(root) }),
  };
}

function parseConfigHash(hex: string): Hash {
  const bytes = fromHex(hex, '--config-hash');
  if (bytes.length !== 32) throw wrong('--config-hash has not 64 digits');
  return hash(bytes);
}

/** Resolves at the first signal; with `withParent` when standard input closes, too. */
function untilStopped(withParent: boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = (): void => {
    process.off('SIGTERM', stop).off('SIGINT', stop);
    if (withParent) process.stdin.destroy();
    resolve();
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  if (withParent) process.stdin.once('close', stop).on('error', stop).resume();
  return promise;
}

/** Answers of EC2's instance metadata service, and of what may stand in its place. */
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { InstanceRoleCredentials } from '@quantumvault/host/instance-role/credentials.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { isErrorCode } from '@quantumvault/shared/errors.ts';
import { must, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import * as sample from './samples.ts';

const PARTS = '\u0000---\u0000';
const FAULTS = ['metadata_unavailable', 'metadata_refused', 'metadata_invalid', 'instance_role_missing'];

/** Answers to the token, the role and the credentials, one behind the other; whole, or only their bodies. */
class MetadataServer {
  #server: Server | undefined;
  #answers: readonly string[] = [];
  port = 0;

  readonly open = async (): Promise<void> => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', (head) => {
        const [, path = ''] = head.toString('latin1').split(' ');
        const index = path.includes('/api/token') ? 0 : path.endsWith('/security-credentials/') ? 1 : 2;
        socket.end(Buffer.from(this.#answers[index] ?? '', 'latin1'));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  };

  readonly close = async (): Promise<void> => {
    await new Promise((resolve) => this.#server?.close(resolve));
  };

  set(input: Uint8Array): void {
    const isRaw = ((input[0] ?? 0) & 1) === 1;
    const parts = Buffer.from(input.subarray(1)).toString('latin1').split(PARTS);
    this.#answers = parts.map((part) =>
      isRaw ? part : `HTTP/1.1 200 OK\r\ncontent-length: ${part.length}\r\nconnection: close\r\n\r\n${part}`,
    );
  }
}

const metadata = new MetadataServer();

export const instanceMetadata: Target = {
  name: 'instance-metadata',
  covers: [
    'host/src/instance-role/credentials.ts#InstanceRoleCredentials',
    'host/src/instance-role/metadata.ts#withMetadata',
  ],
  seeds: () => {
    const credentials = JSON.stringify({
      Code: 'Success',
      AccessKeyId: 'ASIA',
      SecretAccessKey: 's/+',
      Token: 't==',
      Expiration: '2026-11-22T18:00:00Z',
    });
    const whole = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    return {
      bodies: concatBytes(Uint8Array.of(0), utf8(['token', 'role', credentials].join(PARTS))),
      whole: concatBytes(Uint8Array.of(1), utf8(['token', 'role', credentials].map(whole).join(PARTS))),
      chunked: concatBytes(
        Uint8Array.of(1),
        utf8(
          [
            whole('t'),
            'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nrole\r\n0\r\n\r\n',
            whole(credentials),
          ].join(PARTS),
        ),
      ),
      missing: concatBytes(
        Uint8Array.of(1),
        utf8([whole('t'), 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'].join(PARTS)),
      ),
    };
  },
  mutators: [textMutator],
  dictionary: [
    'HTTP/1.1 401 \r\n',
    'HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n',
    'content-length: 99999999\r\n',
    '\r\n\r\n',
    PARTS,
  ].map(utf8),
  maxBytes: 4_096,
  codes: [],
  executions: 60,
  open: metadata.open,
  close: metadata.close,
  async run(input) {
    metadata.set(input);
    const endpoint = { host: '127.0.0.1', port: metadata.port };
    const source = new InstanceRoleCredentials(silentLog, { endpoint, now: () => sample.time, pause: () => 3_600_000 });
    await source.refresh();
    const { fault, current } = source;
    const parts = current && [current.body.accessKeyId, current.body.secretAccessKey, current.body.sessionToken];
    const copies = parts?.map((part) => new TextDecoder().decode(part));
    source.close();
    must(fault === undefined || (isErrorCode(fault) && FAULTS.includes(fault)), `another fault: ${fault}`);
    must((fault === undefined) === (current !== undefined), 'credentials and a fault');
    must(copies?.every((part) => /^[\x21-\x7e]+$/.test(part)) ?? true, 'a part that no header holds');
    must(
      parts?.every((part) => part === undefined || part.every((byte) => byte === 0)) ?? true,
      'not wiped when it was closed',
    );
    return [fault, copies];
  },
};

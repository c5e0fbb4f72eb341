/** The command of the enclave image, from enclave.Dockerfile: how Node is started there, it is started in tests. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const DOCKERFILE = join(import.meta.dirname, '..', '..', 'enclave.Dockerfile');

/** Node, its flags, the vault process's file. */
export function imageCommand(): readonly string[] {
  const json = /^CMD (\[[^\]]+\])$/m.exec(readFileSync(DOCKERFILE, 'utf8').replaceAll('\\\n', ''))?.[1];
  if (json === undefined) throw new Error(`no CMD in ${DOCKERFILE}`);
  return JSON.parse(json) as string[];
}

/** The kms-agent gets them from the vault process. */
export function imageNodeFlags(): readonly string[] {
  return imageCommand().slice(1, -1);
}

/** What the image says of its environment; the builder adds a PATH. */
export function imageEnvironment(): Readonly<Record<string, string>> {
  const lines = readFileSync(DOCKERFILE, 'utf8').matchAll(/^ENV ([A-Z_]+)=(\S+)$/gm);
  return Object.fromEntries([...lines].map(([, name = '', value = '']) => [name, value]));
}

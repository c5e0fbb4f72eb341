/** Whose random numbers an image boots with. The rest of platform.ts needs an enclave: `npm run test:nitro`. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { NODE_FLAGS } from '@quantumvault/enclave/node-flags.ts';
import { requireNsmRandomness } from '@quantumvault/enclave/platform.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { refusalOf } from '../support/codes.ts';
import { requireProgram } from '../support/requires.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-platform-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const compiler = requireProgram('cc', 'gcc');

describe('the source of random numbers', () => {
  const file = join(folder, 'rng_current');
  const refusal = (current: string) => {
    writeFileSync(file, current);
    return refusalOf(() => requireNsmRandomness(file));
  };

  it('is the security module', () => expect(refusal('nsm-hwrng\n')).toBeUndefined());

  it.each(['virtio_rng.0\n', 'none\n', '', 'nsm-hwrng2\n', 'x nsm-hwrng', 'NSM-HWRNG'])('is not %j', (current) => {
    expect(refusal(current)).toMatchObject({ code: 'randomness_untrusted' });
  });

  it('is known', () => {
    const refused = refusalOf(() => requireNsmRandomness(join(folder, 'nowhere')));
    expect(refused).toMatchObject({ code: 'randomness_untrusted', facts: { value: 'cannot be read' } });
  });
});

describe.skipIf(compiler === undefined)('the production bundle', () => {
  it('does not start outside of an enclave', async () => {
    const entries = join(import.meta.dirname, '..', '..', 'enclave', 'src');
    const bundle = await bundleEnclave({
      vaultEntry: join(entries, 'main.ts'),
      agentEntry: join(entries, 'kms-agent', 'main.ts'),
      outDir: folder,
    });
    const start = (flags = NODE_FLAGS, env = {}) =>
      promisify(execFile)(process.execPath, [...flags, bundle.vault], { timeout: 20_000, env });
    const refusals = [
      ...NODE_FLAGS.map((flag) => {
        const others = NODE_FLAGS.filter((each) => each !== flag);
        return { done: start(others), stderr: `enclave: Node was started without ${flag}\n` };
      }),
      ...['--no-disallow-code-generation-from-strings', '--inspect=127.0.0.1:0'].map((flag) => {
        const stderr = expect.stringContaining(`enclave: Node was started with "${flag}"\n`);
        return { done: start([...NODE_FLAGS, flag]), stderr };
      }),
      ...['NODE_OPTIONS', 'LD_LIBRARY_PATH', 'OPENSSL_CONF', 'UV_THREADPOOL_SIZE'].map((name) => {
        return { done: start(NODE_FLAGS, { [name]: '' }), stderr: `enclave: "${name}" in the environment\n` };
      }),
    ];
    const all = refusals.map(({ done, stderr }) => expect(done).rejects.toMatchObject({ code: 1, stderr }));
    await Promise.all(all);
    await expect(start()).rejects.toMatchObject({
      code: 1,
      stderr: `enclave: native_missing (${join(folder, 'qv-native.node')})\n`,
    });
    buildNative({ outFile: join(folder, 'qv-native.node') });
    await expect(start()).rejects.toMatchObject({ code: 1, stderr: 'enclave: randomness_untrusted (rng_current)\n' });
  });
});

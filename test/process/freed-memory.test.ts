/** The image's environment has the C library overwrite what is freed. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { imageEnvironment } from '../support/image-command.ts';
import { requireProgram } from '../support/requires.ts';

const compiler = requireProgram('cc', 'gcc');
const folder = mkdtempSync(join(tmpdir(), 'qv-freed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Prints the longest run of what was written to blocks of several sizes that can still be read once they are freed. */
const PROGRAM = `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
  static const size_t sizes[] = {32, 48, 64, 256, 1000, 4096};
  unsigned longest = 0;
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint8_t *block = malloc(sizes[i]);
    memset(block, 0x5c, sizes[i]);
    volatile uint8_t *seen = (volatile uint8_t *)(uintptr_t)block;
    free(block);
    for (unsigned at = 0, run = 0; at < sizes[i]; at++) {
      run = seen[at] == 0x5c ? run + 1 : 0;
      if (run > longest) longest = run;
    }
  }
  printf("%u\\n", longest);
  return 0;
}
`;

describe.skipIf(compiler === undefined)('what is freed', () => {
  it('is overwritten in the enclave, and is not elsewhere', () => {
    const [source, program] = [join(folder, 'freed.c'), join(folder, 'freed')];
    writeFileSync(source, PROGRAM);
    execFileSync(String(compiler), ['-O0', '-w', '-o', program, source]);
    const left = (env: Readonly<Record<string, string>>): number =>
      Number(execFileSync(program, { env, encoding: 'utf8' }));
    // The last eight bytes of a block are the allocator's once the block is free, and are left as they are.
    expect(left(imageEnvironment())).toBeLessThanOrEqual(8);
    expect(left({})).toBeGreaterThan(1_000);
  });
});

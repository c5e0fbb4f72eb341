/**
 * Signs and seals as `qv import` does, with the owner's key in a file and the wallet's on descriptor 3, says what came
 * of it in one line, and stands still. Arguments: {"ownerKey","statement","importKey"} as JSON, the last one in hex.
 */
import { readSync, writeSync } from 'node:fs';
import { Arguments } from '@quantumvault/host/cli/command.ts';
import { withOwner } from '@quantumvault/host/cli/import/owner.ts';
import { readSeed } from '@quantumvault/host/cli/import/read-key.ts';
import { sealForImport } from '@quantumvault/host/cli/import/seal.ts';
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';

const { ownerKey, statement, importKey } = JSON.parse(process.argv[2] ?? '') as Record<string, string>;
const args = new Arguments(new Map([['owner-key', [ownerKey ?? '']]]), []);

const { result } = await withOwner(args, process, async (owner) => {
  const signature = toHex(await owner.signStatement(statement ?? ''));
  const seed = await readSeed({ key: { descriptor: 3 } });
  try {
    const target = { statementHash: sha256(utf8(statement ?? '')), importKey: fromHex(importKey ?? '') };
    const sealed = toHex(await sealForImport(seed, target));
    return { owner: owner.address, wallet: seed.address, signature, sealed };
  } finally {
    seed.wipe();
  }
});
writeSync(1, `${JSON.stringify(result)}\n`);
readSync(0, new Uint8Array(1));

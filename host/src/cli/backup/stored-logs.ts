/** The published logs of a database, for an audit. */
import { QvError } from '@quantumvault/shared/errors.ts';
import type { LogSource } from '@quantumvault/shared/evidence/audit/types.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_WIDTH } from '@quantumvault/shared/tlog/tiles.ts';
import type { Store } from '../../store/store.ts';

export function storedLogs(store: Store): LogSource {
  return {
    boots: async () => (await store.getLogs()).map(({ boot }) => boot),
    checkpoint: async (boot) => {
      const log = (await store.getLogs()).find((candidate) => candidate.boot === boot);
      if (log === undefined) throw new QvError('log_unknown', { path: boot });
      return log.checkpoint;
    },
    entries: async (boot, index, width) => {
      const leaves = await store.getLeaves(boot, index * BigInt(TILE_WIDTH), width);
      if (leaves.length < width) throw new QvError('log_unknown', { path: `${boot} ${index}` });
      return encodeEntries(leaves.map(({ leaf }) => leaf));
    },
    policy: (hash) => store.getPolicy(hash),
  };
}

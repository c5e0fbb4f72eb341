/** Migrations of v2 as operators order them: list, statement, sealed secret, and proofs by a tree of its own. */
import type { Address, BootId, Hash } from '@quantumvault/shared/brands.ts';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import {
  type MigrationRow,
  type MigrationStatement,
  migrationRowCodec,
  migrationStatementCodec,
  type V2Parameters,
} from '@quantumvault/shared/evidence/migration.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { sealedBox } from './import-kit.ts';
import { signedBy } from './operator-keys.ts';
import type { V2, V2Row } from './v2.ts';
import { type Party, secondsFromNow } from './wallet-kit.ts';

/** The parameters of the file, as an enclave is given them. */
export function parametersOf(v2: V2): V2Parameters {
  const { salt, serverKey, userKey, botKeyKey, botKey } = v2.parameters() as {
    salt: string;
    serverKey: { method: V2Parameters['serverKey']['method']; info?: string; n?: number; r?: number; p?: number };
    userKey: { encoding: V2Parameters['userKey'] };
    botKeyKey: { method: V2Parameters['botKeyKey']['method']; info?: string; withUserId?: boolean };
    botKey: V2Parameters['botKey'];
  };
  const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));
  const { method, info, n = 0, r = 0, p = 0 } = serverKey;
  const { withUserId } = botKeyKey;
  return {
    salt: new Uint8Array(Buffer.from(salt, 'hex')),
    serverKey: {
      method,
      ...(info !== undefined && { info: bytes(info) }),
      ...(method === 'scrypt' && { cost: { n, r, p } }),
    },
    userKey: userKey.encoding,
    botKeyKey: {
      method: botKeyKey.method,
      ...(botKeyKey.info !== undefined && { info: bytes(botKeyKey.info) }),
      ...(withUserId !== undefined && { withUserId }),
    },
    botKey,
  };
}

export function migrationRow(
  { id, userId, key, encryptedUserKey, encryptedBotKey }: V2Row,
  owner: Address,
  requesters: readonly Address[],
  change: Partial<MigrationRow> = {},
): MigrationRow {
  return {
    id,
    userId,
    wallet: key.address,
    owner,
    requesters,
    encryptedUserKey: new Uint8Array(encryptedUserKey),
    encryptedBotKey: new Uint8Array(encryptedBotKey),
    ...change,
  };
}

/** RFC 6962 section 2.1, by its definition. */
function treeHash(leaves: readonly Uint8Array[]): Hash {
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return sha256(concatBytes(Uint8Array.of(0), only));
  const middle = splitAt(leaves.length);
  return sha256(concatBytes(Uint8Array.of(1), treeHash(leaves.slice(0, middle)), treeHash(leaves.slice(middle))));
}

function pathOf(index: number, leaves: readonly Uint8Array[]): Hash[] {
  if (leaves.length === 1) return [];
  const middle = splitAt(leaves.length);
  if (index < middle) return [...pathOf(index, leaves.slice(0, middle)), treeHash(leaves.slice(middle))];
  return [...pathOf(index - middle, leaves.slice(middle)), treeHash(leaves.slice(0, middle))];
}

const splitAt = (length: number): number => 2 ** Math.ceil(Math.log2(length) - 1);

export interface MigrationFacts {
  readonly deployment: string;
  readonly boot: BootId;
  readonly importKey: Uint8Array;
  readonly v2: V2;
  readonly rows: readonly MigrationRow[];
  readonly operators: readonly Party[];
}

/** A migration that is signed and sealed rightly; `change` is of the statement, before it is signed. */
export class Migration {
  readonly statement: MigrationStatement;
  readonly bytes: Uint8Array;
  readonly hash: Hash;
  readonly #facts: MigrationFacts;
  readonly #leaves: readonly Uint8Array[];

  constructor(facts: MigrationFacts, change: Partial<MigrationStatement> = {}) {
    const { deployment, boot, importKey, v2, rows } = facts;
    this.#facts = facts;
    this.#leaves = rows.map((row) => encodeAs(migrationRowCodec, row));
    this.statement = {
      deployment,
      boot,
      importKey,
      notAfter: secondsFromNow(3600),
      parameters: parametersOf(v2),
      rows: rows.length,
      root: treeHash(this.#leaves),
      ...change,
    };
    this.bytes = encodeAs(migrationStatementCodec, this.statement);
    this.hash = sha256(this.bytes);
  }

  begin(change: Partial<RequestOf<'migrationBegin'>> = {}): RequestOf<'migrationBegin'> {
    const { operators, v2, importKey } = this.#facts;
    return {
      statement: { bytes: this.bytes, signatures: signedBy(this.bytes, ...operators) },
      sealed: sealedBox(concatBytes(this.hash, v2.secret), importKey),
      ...change,
    };
  }

  row(index: number, change: Partial<RequestOf<'walletMigrate'>> = {}): RequestOf<'walletMigrate'> {
    return {
      statementHash: this.hash,
      row: this.#leaves[index] ?? new Uint8Array(1),
      index,
      proof: pathOf(index, this.#leaves),
      dryRun: false,
      ...change,
    };
  }
}

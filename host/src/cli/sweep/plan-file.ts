/** What `qv wallet look` writes and `qv wallet sweep --plan` reads, on machines of which one has no RPC endpoint. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { readInput } from '../input.ts';
import { type Blockhash, type Found, isPossible, RECEIVERS, type TokenHolding } from './found.ts';

export const FORMAT = 'qv/sweep-plan/v1';
const AMOUNT = /^(?:0|[1-9][0-9]{0,19})$/;
const U64_MAX = (1n << 64n) - 1n;
const EXTENSION_MAX = 0xffff;

export function planFileJson(found: Found, { blockhash, lastValidBlockHeight }: Blockhash): Record<string, JsonValue> {
  return {
    format: FORMAT,
    wallet: found.wallet,
    destination: found.destination,
    lamports: found.lamports.toString(),
    destinationExists: found.destinationExists,
    blockhash,
    lastValidBlockHeight,
    tokens: found.tokens.map(({ units, lamports, ...facts }) => ({
      ...facts,
      units: units.toString(),
      lamports: lamports.toString(),
    })),
  };
}

/** @throws QvError input_unreadable, body_too_large, json_malformed, field_malformed, base58_malformed */
export function readPlanFile(path: string): { readonly found: Found; readonly blockhash: Blockhash } {
  const fields = new JsonFields(parseStrictJson(readInput(path, LIMITS.cliSweepPlanBytes)), path);
  if (fields.text('format') !== FORMAT) throw fields.fault('format', `not ${FORMAT}`);
  const addressIn = (key: string): Address => address(fields.text(key), fields.path(key));
  const listed = fields.list('tokens');
  if (listed.length > LIMITS.cliSweepAccounts) throw fields.fault('tokens', `more than ${LIMITS.cliSweepAccounts}`);
  const tokens = listed.map((value, index) => holdingOf(value, `${fields.path('tokens')}[${index}]`));
  if (new Set(tokens.map(({ account }) => account)).size !== tokens.length)
    throw fields.fault('tokens', 'an account twice');
  const read = {
    found: {
      wallet: addressIn('wallet'),
      destination: addressIn('destination'),
      lamports: amount(fields, 'lamports'),
      destinationExists: flag(fields, 'destinationExists'),
      tokens,
    },
    blockhash: {
      blockhash: addressIn('blockhash'),
      lastValidBlockHeight: fields.integer('lastValidBlockHeight', Number.MAX_SAFE_INTEGER),
    },
  };
  fields.end();
  if (!isPossible(read.found)) throw fields.fault('lamports', 'more SOL than there is');
  return read;
}

function holdingOf(value: JsonValue, path: string): TokenHolding {
  const fields = new JsonFields(value, path);
  const addressIn = (key: string): Address => address(fields.text(key), fields.path(key));
  const extensions = (key: string): readonly number[] =>
    fields.list(key).map((extension) => {
      if (typeof extension !== 'number' || !Number.isInteger(extension) || extension < 1 || extension > EXTENSION_MAX)
        throw fields.fault(key, 'not numbers of extensions');
      return extension;
    });
  const program = addressIn('program');
  if (program !== TOKEN_PROGRAM && program !== TOKEN_2022_PROGRAM) throw fields.fault('program', 'no token program');
  const receiver = RECEIVERS.find((known) => known === fields.text('receiver'));
  if (receiver === undefined) throw fields.fault('receiver', `none of ${RECEIVERS.join(', ')}`);
  const held = {
    account: addressIn('account'),
    program,
    mint: addressIn('mint'),
    units: amount(fields, 'units'),
    decimals: fields.integer('decimals', 255),
    lamports: amount(fields, 'lamports'),
    isNative: flag(fields, 'isNative'),
    isFrozen: flag(fields, 'isFrozen'),
    isClosable: flag(fields, 'isClosable'),
    extensions: extensions('extensions'),
    mintExtensions: extensions('mintExtensions'),
    receiver,
  };
  fields.end();
  return held;
}

function amount(fields: JsonFields, key: string): bigint {
  const text = fields.text(key);
  const value = AMOUNT.test(text) ? BigInt(text) : U64_MAX + 1n;
  if (value > U64_MAX) throw fields.fault(key, 'not an amount in decimal');
  return value;
}

function flag(fields: JsonFields, key: string): boolean {
  const value = fields.optionalBoolean(key);
  if (value === undefined) throw fields.fault(key, 'missing');
  return value;
}

/** A plan is for one wallet and one destination, which the command line names, too. @throws QvError usage_invalid */
export function requireSame({ wallet, destination }: Found, wanted: Pick<Found, 'wallet' | 'destination'>): void {
  const wrong = (value: string): QvError => new QvError('usage_invalid', { value });
  if (wallet !== wanted.wallet) throw wrong('--plan is of another wallet than --wallet');
  if (destination !== wanted.destination) throw wrong('--plan is for another destination than --to');
}

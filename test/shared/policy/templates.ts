/** The policy templates, with their placeholders filled. */
import { readdirSync, readFileSync } from 'node:fs';
import { DESTINATION, type Json, OWNER, REQUESTER, STRANGER, WALLET } from './cases.ts';

const FOLDER = new URL('../../../host/templates/policies/', import.meta.url);
export const TEMPLATES = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.replace('.json', ''));
export const README = readFileSync(new URL('README.md', FOLDER), 'utf8');
export const textOf = (template: string): string => readFileSync(new URL(`${template}.json`, FOLDER), 'utf8');

export const SECOND = '5H7kMUdTThkCkVy4r9ua1np9JAdbF6842jwiw2sE92e2';
export const TREASURY = DESTINATION;
export const DRIFT_USER = '9M79twAQ9a4JKKz35p616NvswRj9wdPSM8Y5JpiSJQNR';
export const DRIFT_USER_STATS = 'GhbtwW4RskpZD5DAZEo9Hccy77M5ABjGZYNssBXr6SnV';
export const DRIFT_USDC_VAULT = 'Gky4NXhXjqPiyYY4u5pnSc4nvkzeSypBYCkZ3JshRqMi';

/** What every placeholder of every template stands for here. */
export const VALUES: Readonly<Record<string, string>> = {
  WALLET,
  OWNER,
  REQUESTER,
  VALID_FROM: '2026-11-01T00:00:00Z',
  VALID_UNTIL: '2026-12-31T00:00:00Z',
  // 200 USDC per SOL: 5 lamports per unit of USDC. Both prices leave 2 %.
  MIN_LAMPORTS_PER_USDC_UNIT: '4.9',
  MIN_USDC_UNITS_PER_LAMPORT: '0.196',
  DRIFT_USER,
  DRIFT_USER_STATS,
  DRIFT_USDC_VAULT,
  MAX_ORDER_SIZE: '5000000000',
  MIN_PRICE: '150000000',
  MAX_PRICE: '250000000',
  DESTINATION_1: DESTINATION,
  DESTINATION_2: SECOND,
  TREASURY,
};

export const PLACEHOLDER = /"<([A-Z0-9_]+)>"/g;

export function filled(template: string): Json {
  const text = textOf(template).replace(PLACEHOLDER, (_, name: string) => {
    const value = VALUES[name];
    if (value === undefined) throw new Error(`no value for ${name}`);
    return JSON.stringify(value);
  });
  return JSON.parse(text) as Json;
}

export { STRANGER };

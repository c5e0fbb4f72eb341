/**
 * Runs each mutant of mutants.ts, or those named, against its target in this process: a loader hook gives the mutant a
 * module graph of its own (`?mutant=<number>` behind each file of the project), in which one file reads otherwise. One
 * line of JSON for each: {"mutant", "found", "executions", "milliseconds"}.
 */
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readStored } from './engine/corpus.ts';
import type { fuzz } from './engine/driver.ts';
import type { Target } from './engine/target.ts';
import { MUTANTS } from './mutants.ts';
import { WHERE } from './targets/where.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const QUERY = /\?mutant=(\d+)$/;
const SEED = 20261123;

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const number = QUERY.exec(context.parentURL ?? '')?.[1];
    const isOurs = resolved.url.startsWith('file:') && !resolved.url.includes('/node_modules/');
    return number === undefined || !isOurs || QUERY.test(resolved.url)
      ? resolved
      : { ...resolved, url: `${resolved.url}?mutant=${number}` };
  },
  load(url, context, next) {
    const loaded = next(url, context);
    const mutant = MUTANTS[Number(QUERY.exec(url)?.[1] ?? -1)];
    if (mutant === undefined || fileURLToPath(url.replace(QUERY, '')) !== join(ROOT, mutant.file)) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array).toString();
    if (source.split(mutant.find).length !== 2)
      throw new Error(`${mutant.name}: what it replaces does not stand once in ${mutant.file}`);
    return { ...loaded, source: source.replace(mutant.find, () => mutant.replace) };
  },
});

const wanted = process.argv.slice(2);
for (const [number, mutant] of MUTANTS.entries()) {
  if (wanted.length > 0 && !wanted.includes(mutant.name)) continue;
  const started = performance.now();
  const file = WHERE[mutant.target];
  const exported = Object.values(
    (await import(`./targets/${file}.ts?mutant=${number}`)) as Readonly<Record<string, unknown>>,
  );
  const { fuzz: run } = (await import(`./engine/driver.ts?mutant=${number}`)) as { fuzz: typeof fuzz };
  const target = (exported as readonly Partial<Target>[]).find(({ name }) => name === mutant.target) as
    | Target
    | undefined;
  if (target === undefined) throw new Error(`no target ${mutant.target}`);
  const corpus = readStored('corpus', target.name).map(({ bytes }) => bytes);
  const { findings, executions } = await run(target, { seed: SEED, executions: target.executions, corpus });
  const milliseconds = Math.round(performance.now() - started);
  console.log(
    JSON.stringify({
      mutant: mutant.name,
      target: target.name,
      found: findings[0]?.what ?? null,
      executions,
      milliseconds,
    }),
  );
}

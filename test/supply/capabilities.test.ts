/** What the enclave's bundles can reach is what allowed.ts says, and whatever else is put into them is found. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BundleFiles } from '@quantumvault/enclave/bundle.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KMS_AGENT, VAULT } from './allowed.ts';
import { productionBundle } from './bundles.ts';
import { capabilitiesOf, capabilityFindings } from './capabilities.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-reach-'));
let bundle: BundleFiles;
beforeAll(async () => {
  bundle = await productionBundle(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the enclave bundles', () => {
  it('reach nothing from the vault process but what is allowed', () => {
    const found = capabilitiesOf(readFileSync(bundle.vault, 'utf8'), bundle.vaultInputs);
    expect(capabilityFindings(found, VAULT)).toEqual([]);
  });

  it('reach nothing more from the kms-agent than they did', () => {
    const found = capabilitiesOf(readFileSync(bundle.agent, 'utf8'), bundle.agentInputs);
    expect(capabilityFindings(found, KMS_AGENT)).toEqual([]);
  });

  it('the allowed places of the vault are few: one starts a program, none has a network, the environment or code', () => {
    const by = (pattern: RegExp): string[] =>
      Object.entries(VAULT).flatMap(([owner, all]) =>
        all.filter((it) => pattern.test(it)).map((it) => `${owner}: ${it}`),
      );
    expect(by(/child_process\.|worker|cluster/)).toEqual(['enclave/src/run.ts: node:child_process.spawn']);
    expect(
      by(/node:(net|tls|http|https|http2|dgram|dns|quic|inspector|vm|repl|wasi)\b|fetch|WebSocket|EventSource/),
    ).toEqual([]);
    // It takes them away.
    expect(by(/process\.(env|argv|stdin|binding|_linkedBinding|mainModule|getBuiltinModule)|process \*/)).toEqual([
      'enclave/src/hardening.ts: process *',
    ]);
    expect(by(/global (eval|Function|WebAssembly|Worker)|import\(/)).toEqual([]);
    expect(by(/dlopen|\.node$/)).toEqual([
      'shared/src/native.ts: process.dlopen',
      'one-addon:require-addon: require ./sodium-native.node',
    ]);
    const text = readFileSync(bundle.vault, 'utf8');
    // Each where it is called, once.
    expect([...text.matchAll(/\bimport_node_child_process\d*\.\w+/g)]).toHaveLength(1);
    expect([...text.matchAll(/\bprocess\.dlopen\b/g)]).toHaveLength(1);
  });
});

describe('put into a bundle', () => {
  const FILE = 'enclave/src/vault.ts';
  /** As the bundler writes it, with what it declares for the others. */
  const reached = (code: string): string[] | undefined => {
    const before = 'var __toESM = (it) => it;\nvar import_node_child_process = require("node:child_process");';
    return capabilitiesOf(`"use strict";\n${before}\n// ${FILE}\n(() => {\n${code}\n})();\n`, [FILE]).get(FILE);
  };

  it.each<[code: string, what: string]>([
    ['fetch("https://example/")', 'global fetch'],
    ['new WebSocket("wss://example")', 'global WebSocket'],
    ['new EventSource("https://example")', 'global EventSource'],
    ['globalThis.fetch("https://example/")', 'global fetch'],
    ['globalThis["fe" + "tch"]("https://example/")', 'globalThis *'],
    ['global.process.env.HOME', 'process.env'],
    ['Reflect.get(globalThis, "fetch")', 'globalThis *'],
    ['const everything = globalThis', 'globalThis *'],
    ['process.env.HOME', 'process.env'],
    ['process["env"].HOME', 'process.env'],
    ['process[`env`].HOME', 'process *'],
    ['const { env } = process', 'process *'],
    ['const p = process; p.env', 'process *'],
    ['process.argv[2]', 'process.argv'],
    ['process.binding("tcp_wrap")', 'process.binding'],
    ['process.getBuiltinModule("node:net")', 'process.getBuiltinModule'],
    ['process.dlopen(module_, "/tmp/x.node")', 'process.dlopen'],
    ['eval("1")', 'global eval'],
    ['(0, eval)("1")', 'global eval'],
    ['new Function("return 1")()', 'global Function'],
    ['(() => {}).constructor("return 1")()', '.constructor'],
    ['(() => {})["constructor"]("return 1")()', '.constructor'],
    ['import("node:net")', 'import(node:net)'],
    ['import(somewhere)', 'import(*)'],
    ['require(["node:", "net"].join(""))', 'require *'],
    ['const load = require; load("node:net")', 'require *'],
    ['module.require("node:net")', 'global module'],
    ['new Worker("x")', 'global Worker'],
    ['WebAssembly.compile(new Uint8Array(8))', 'global WebAssembly'],
    ['localStorage.x', 'global localStorage'],
  ])('%s is found', (code, what) => {
    const without = code.replace(/module_|somewhere/, '{}');
    expect(reached(without)).toEqual([what]);
  });

  it.each<[code: string, what: string[]]>([
    ['require("net").connect(443)', ['node:net.connect', 'require node:net']],
    ['const net = require("node:net"); net.connect(443)', ['node:net.connect', 'require node:net']],
    ['const { connect: open } = require("node:net"); open(443)', ['node:net.connect', 'require node:net']],
    ['const { ...all } = require("node:net")', ['node:net *', 'require node:net']],
    ['let net; net = require("node:net"); net.connect(443)', ['node:net *', 'require node:net']],
    ['var net = require("node:net"), name = "connect"; net[name](443)', ['node:net *', 'require node:net']],
    ['var dns = __toESM(require("node:dns"), 1); dns.default.lookup("x")', ['node:dns.lookup', 'require node:dns']],
    ['const t = require("node:tls"); take(t); function take(x) { x.connect(1); }', ['node:tls *', 'require node:tls']],
    ['require("node:fs").writeFileSync("/tmp/x", "")', ['node:fs.writeFileSync', 'require node:fs']],
    ['require("./other.node")', ['require ./other.node']],
    ['import_node_child_process.execSync("id")', ['node:child_process.execSync']],
    ['(0, import_node_child_process.spawn)("id")', ['node:child_process.spawn']],
  ])('%s is found', (code, what) => {
    expect(reached(code)).toEqual(what);
  });

  it.each([
    'function f(process) { return process.env; } f({})',
    'const { process } = { process: { env: 1 } }; process.env',
    'const fetch = () => 1; fetch()',
    'try { f() } catch (process) { process.env } function f() {}',
    'class eval_ { static process = 1; process() { return this.process; } }',
    'for (const process of []) process.env',
    'const o = { process: 1, fetch: 2, require() {} }; o.require("node:net", o.process, o.fetch)',
    'typeof fetch; typeof process; typeof globalThis.fetch',
    'label: for (;;) break label',
    'switch (1) { case 1: let require = (x) => x; require("node:net " + 1) }',
    'globalThis.Object.keys({})',
  ])('%s is not: the name means something else', (code) => {
    expect(reached(code)).toBeUndefined();
  });

  it('a name counts again outside of where it is declared', () => {
    expect(reached('{ const process = {}; process.env } process.env')).toEqual(['process.env']);
    expect(reached('(function fetch() {}); fetch()')).toEqual(['global fetch']);
  });

  it('is put down to its file or package, and to be allowed; what is no longer there is to be taken off', () => {
    const utils = bundle.vaultInputs.find((it) => it.includes('@noble/hashes/utils.js')) ?? '';
    const more = `// ${FILE}\nfetch("https://example/");\n// ${utils}\nprocess.env.HOME;\n`;
    const doctored = capabilitiesOf(readFileSync(bundle.vault, 'utf8') + more, bundle.vaultInputs);
    expect(capabilityFindings(doctored, { ...VAULT, 'enclave/src/sign.ts': ['process.env'] })).toEqual([
      '@noble/hashes: reaches process.env, which is not allowed',
      'enclave/src/sign.ts: no longer reaches process.env: take it off',
      'enclave/src/vault.ts: reaches global fetch, which is not allowed',
    ]);
  });

  it('code that is not strict is refused, as this reads strict code', () => {
    expect(() => capabilitiesOf('var a = 1;', [])).toThrow('not strict');
  });
});

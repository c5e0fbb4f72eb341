/** The simulated hypervisor's configuration: a small JSON file. Unknown keys are refused. */
import { readFile } from 'node:fs/promises';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';

export interface NsmConfig {
  /** Where the NSM listens: `unix:/path`. A stale socket file there is removed. */
  readonly socket: string;
  /** Keeps the simulated root's key and certificate (`root.pem`), so that restarts keep the root. */
  readonly rootDir: string;
  readonly instanceId: string;
  readonly roleArn?: string;
  readonly region?: string;
  readonly debug?: boolean;
  readonly encoding?: 'indefinite' | 'definite';
  readonly measure: {
    /** The enclave's command line, as text. */
    readonly cmdline: string;
    /** Path of sodium-native's addon. */
    readonly addon: string;
    /** Paths of the enclave's bundle files, in order, then of its measured configuration. */
    readonly files: readonly string[];
  };
}

export async function readNsmConfig(path: string): Promise<NsmConfig> {
  const fields = new JsonFields(parseStrictJson(await readFile(path)));
  const measure = new JsonFields(fields.required('measure'), 'measure');
  const optionalText = (key: string): string | undefined =>
    fields.optional(key) === undefined ? undefined : fields.text(key);
  const encoding = optionalText('encoding');
  if (encoding !== undefined && encoding !== 'indefinite' && encoding !== 'definite') {
    throw fields.fault('encoding', 'neither indefinite nor definite');
  }
  const roleArn = optionalText('roleArn');
  const region = optionalText('region');
  const config: NsmConfig = {
    socket: fields.text('socket'),
    rootDir: fields.text('rootDir'),
    instanceId: fields.text('instanceId'),
    debug: fields.optionalBoolean('debug') ?? false,
    ...(roleArn === undefined ? {} : { roleArn }),
    ...(region === undefined ? {} : { region }),
    ...(encoding === undefined ? {} : { encoding }),
    measure: {
      cmdline: measure.text('cmdline'),
      addon: measure.text('addon'),
      files: measure.list('files').map((file) => {
        if (typeof file !== 'string') throw measure.fault('files', 'not a path');
        return file;
      }),
    },
  };
  fields.end();
  measure.end();
  return config;
}

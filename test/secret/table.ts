/** What counts as a secret, and what may be done with one. Everything that is not listed here may not. */

/**
 * Folders in which keys are read: their files hand private bytes to each other, and compute with them. Elsewhere all of
 * ROOM_WORK is forbidden.
 */
export const ROOMS = /^(?:host\/src\/cli\/(?:import|migrate\/secret)|enclave\/src\/migration)\//;
export const ROOM_WORK = new Set([
  'computed with',
  'compared in a time that tells',
  'handed out',
  'returned by what it was lent to',
  'lent to what has not ended',
  'written to where it is not followed',
]);

/** Names that hold private bytes, in the files that have any (paths from the root of the repository). */
export const NAMES: readonly { readonly files: RegExp; readonly names: readonly string[] }[] = [
  {
    files: /^enclave\/src\/(?:vault|kept-keys|native-recipient)\.ts$/,
    names: [
      'seed',
      'secretKey',
      'executionKey',
      'secondKey',
      'walletKey',
      'policyKey',
      'stateKey',
      'extracted',
      'opening',
      'imported',
      'importedSeed',
      'pending',
      'memory',
      '#memory',
    ],
  },
  {
    files: /^enclave\/src\/(?:vault|row-key)\.ts$|^host\/src\/row-keys?\.ts$/,
    names: ['rowKey'],
  },
  {
    files: /^enclave\/src\/migration\//,
    names: ['secret', 'userKey', 'botKeyKey', 'userText', 'botText', 'pair', 'extracted', 'digest'],
  },
  { files: /^host\/src\/(?:client|cli)\//, names: ['secretKey', 'pem'] },
  { files: /^host\/src\/client\//, names: ['seed'] },
  { files: ROOMS, names: ['seed', 'pair', 'node', 'masterSeed', 'passphrase'] },
  {
    files: /^host\/src\/(?:credentials\.ts|enclave\/|instance-role\/)|^enclave\/src\/kms-agent\//,
    names: ['secretAccessKey', 'sessionToken'],
  },
];

/** Classes that hold private bytes and lend them, and calls that give one. */
export const HOLDERS = /^(?:Secret|OwnedSeed)$/;
export const GIVES_HOLDER = /^(?:Secret\.take|readSeed)$/;

/** Calls that give private bytes, in every file. */
export const SOURCES =
  /^(?:(?:this\.#)?sodium\.sodium_malloc|privateKey\.export|readPrivateFile|this\.#privateKey\.export)$/;

/** Members that say nothing of the content. */
export const PUBLIC_MEMBERS = new Set(['length', 'byteLength', 'byteOffset', 'size', 'stamp', 'address']);

/** What private bytes may be given to. */
export const MAY_TAKE = [
  // libsodium and the addon: they keep to the buffers that they are given.
  /^(?:this\.#)?sodium\.\w+$/,
  /^(?:this\.#)?native\.recipientOpen$/,
  /^recipient\.open$/,
  /^(?:this\.#)?native\.legacy(?:Open|Scrypt)$/,
  /^this\.#ciphers\.(?:openGcm|scrypt)$/,
  // They read and write the bytes that they are given.
  /^(?:readBase58|readHexBytes|readBase64Bytes)$/,
  // OpenSSL by way of Node: what comes out is a handle, or public.
  /^(?:createHmac|createHash|createPrivateKey|createPublicKey|timingSafeEqual|randomFillSync)$/,
  /^create(?:Hmac|Hash)\(\)\.update$/,
  // What takes bytes over, and wipes what it was given.
  /^(?:Secret|Secret\.take|RowKey|OwnedSeed)$/,
];

/** Of calls that give back what they were given, or hold it. */
export const GIVES_BACK = /^(?:Object\.freeze|Buffer\.from|DataView|Uint8Array)$/;

/** Methods of private bytes that stay inside of their memory. */
export const STAYS = new Set(['subarray', 'fill', 'set', 'copy']);
/** Those of them, and of collections of secrets, whose result is the secret again. */
export const GIVES_SAME = new Set([
  'subarray',
  'fill',
  'slice',
  'at',
  'get',
  'values',
  'entries',
  'find',
  'filter',
  'pop',
]);
/** Of collections: what they call has a secret as its first argument. */
export const GIVES_EACH = new Set(['map', 'forEach', 'flatMap', 'filter', 'find', 'some', 'every', 'findLast']);
/** Methods that lend private bytes to a function. */
export const LENDS = new Set(['use']);

/** What a forbidden use does, in the order in which they are asked. */
const MISUSES: readonly (readonly [name: RegExp, what: string])[] = [
  [/^console\.|(?:^|[.#])(?:log|logger)(?:\.\w+)?$|\.(?:trace|debug|info|warn|error|fatal)$/, 'logged'],
  [
    /^(?:JSON\.stringify|stringify|encodeCbor|encodeAs|structuredClone|serialize|v8\.serialize)$|\.(?:postMessage|send|serialize|toJSON)$/,
    'serialised',
  ],
  [
    /^(?:equalBytes|isDeepStrictEqual|Buffer\.compare)$|\.(?:equals|compare|indexOf|lastIndexOf|includes)$/,
    'compared in a time that tells',
  ],
  [
    /^(?:String|Number|BigInt|toHex|toBase64|toBase58|encodeBase58|addressOf|inspect|format|util\.inspect|util\.format|btoa)$|^String\.|\.(?:decode|toString|toLocaleString|valueOf|join|toHex|toBase64|\w+Slice)$/,
    'turned into text',
  ],
  [/^Object\.(?:keys|values|entries|assign|getOwn\w+|fromEntries)$|^Reflect\./, 'enumerated'],
  [
    /^(?:Buffer\.(?:from|concat|copyBytesFrom)|Array\.from|\w*Array\.(?:from|of)|Uint8Array|Uint16Array|Uint32Array|concatBytes)$|\.(?:slice|map|filter|concat|toReversed|toSorted|with)$/,
    'copied to where V8 moves it about',
  ],
];

/** @param callee as `dotted` gives it. Undefined when nothing is known of it */
export function misuseOf(callee: string): string | undefined {
  return MISUSES.find(([name]) => name.test(callee))?.[1];
}

export function namesIn(file: string): ReadonlySet<string> {
  return new Set(NAMES.filter(({ files }) => files.test(file)).flatMap(({ names }) => names));
}

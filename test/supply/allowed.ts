/**
 * What the code in the enclave's two bundles reaches beyond its own values: all of it, by source file or package, as
 * capabilities.ts names it. A test compares both ways. Whoever adds a line says why.
 */

export type Allowed = Readonly<Record<string, readonly string[]>>;

/** Of both processes. */
const CLOSING: Allowed = {
  // Closes every way to more code, and freezes built-in objects: it reaches them all, to take them away.
  'enclave/src/hardening.ts': ['require node:module', 'node:module.registerHooks', 'globalThis *', 'process *'],
  // Faults end the process.
  'shared/src/faults.ts': ['process.exit', 'process.on', 'process.removeAllListeners'],
};

/**
 * The vault process. Nothing here opens a connection but the addon, which knows AF_VSOCK alone; nothing reads a variable
 * of the environment, arguments or standard input; one place starts one program.
 */
export const VAULT: Allowed = {
  ...CLOSING,
  // That the process was started as measured: names of variables, from /proc/self/environ.
  'enclave/src/node-flags.ts': [
    ...['require node:fs', 'node:fs.readFileSync', 'require node:path', 'node:path.dirname', 'process.execArgv'],
  ],
  // Whether the kernel has locked memory: /proc/self/status.
  'enclave/src/locked-memory.ts': ['require node:fs', 'node:fs.readFileSync'],
  // The measured configuration, beside the bundle; a boot that fails ends the process, and says so.
  'enclave/src/main.ts': [
    ...['require node:fs', 'node:fs.readFileSync', 'require node:path', 'node:path.join', 'global __dirname'],
    ...['process.exit', 'process.stderr'],
  ],
  // Whose random numbers the kernel takes; who may open the module's device.
  'enclave/src/platform.ts': ['require node:fs', 'node:fs.readFileSync', 'node:fs.chmodSync'],
  // The one program that is started: the kms-agent, by this Node and with its flags, without an environment.
  'enclave/src/run.ts': [
    ...['require node:child_process', 'node:child_process.spawn', 'process.execPath'],
    ...['process.on', 'process.exit', 'process.stderr'],
  ],
  // Our addon, by its path. It is the only way to a socket, and makes vsock ones alone.
  'shared/src/native.ts': [
    ...['process.dlopen', 'require node:stream', 'node:stream.Duplex', 'require node:util'],
    'node:util.getSystemErrorName',
  ],
  // libsodium, by its path: the bundler's plugin puts this in place of a loader that searches folders.
  'one-addon:require-addon': ['require ./sodium-native.node', './sodium-native.node *'],
  // `require.addon` is a property that it puts the loader into. Its file name is an argument that the plugin ignores.
  'sodium-native': ['require *', 'global __filename', 'require node:assert', 'node:assert *'],
  'which-runtime': [
    ...['global Bare', 'process.arch', 'process.platform', 'process.type', 'process.version', 'process.versions'],
  ],
  // Its outer function tells module systems apart, and comes to no global in Node. Two names that it assigns without
  // declaring them, in code for packing strings, would throw in strict code; it logs while it guesses structures.
  // Neither is switched on.
  'cbor-x': [
    ...['.constructor', 'global console', 'global define', 'global self', 'globalThis *'],
    ...['global packedObjectMap', 'global sharedPackedObjectMap'],
  ],
  // Compares and calls the class of an array or of itself.
  '@noble/hashes': ['.constructor'],
};

/**
 * The kms-agent. The AWS SDK has ways to look for credentials and settings in the environment, in files of a home
 * folder, from a program and over HTTP. It is given credentials, region, endpoint and connection, so that it need not;
 * and what it would find is nothing: an environment without anything but a home that does not exist, an image without
 * other programs, an enclave without a network. What it has may not grow unseen.
 */
export const KMS_AGENT: Allowed = {
  ...CLOSING,
  // The one way out: TLS over a socket that it is handed, to the measured roots.
  'enclave/src/kms-agent/agent.ts': ['require node:https', 'node:https.Agent', 'require node:tls', 'node:tls.connect'],
  'enclave/src/kms-agent/main.ts': [
    ...['process.argv', 'process.exit', 'process.stderr', 'require node:path', 'node:path.join', 'global __dirname'],
  ],
  // A socket of a descriptor that it was born with.
  'enclave/src/kms-agent/run.ts': [
    ...['require node:fs', 'node:fs.readFileSync', 'require node:net', 'node:net.Socket', 'process.exit'],
    'process.stderr',
  ],
  'shared/src/native.ts': [
    ...['process.dlopen', 'require node:stream', 'node:stream.Duplex', 'require node:util'],
    'node:util.getSystemErrorName',
  ],
  '@aws-sdk/client-kms': ['process.version'],
  '@aws-sdk/core': [
    ...['.constructor', 'global console', 'global window', 'process.emitWarning', 'process.env'],
    ...['require node:os', 'node:os *', 'require node:process', 'node:process *'],
  ],
  '@aws-sdk/credential-provider-env': ['process.env'],
  '@aws-sdk/credential-provider-http': [
    ...['.constructor', 'global console', 'process.env', 'require node:fs/promises', 'node:fs/promises.readFile'],
  ],
  '@aws-sdk/credential-provider-login': [
    ...[
      'global crypto',
      'process.env',
      'require node:crypto',
      'node:crypto.createHash',
      'node:crypto.createPrivateKey',
    ],
    ...['node:crypto.createPublicKey', 'node:crypto.sign', 'require node:fs', 'node:fs.promises', 'require node:os'],
    ...['node:os.homedir', 'require node:path', 'node:path.dirname', 'node:path.join'],
  ],
  '@aws-sdk/credential-provider-node': ['.constructor', 'global console', 'process.env'],
  // Runs the command that a profile names. There is no profile, and no other program in the image.
  '@aws-sdk/credential-provider-process': [
    ...['require node:child_process', 'node:child_process.exec', 'require node:util', 'node:util.promisify'],
  ],
  '@aws-sdk/credential-provider-web-identity': ['process.env', 'require node:fs', 'node:fs.readFileSync'],
  '@aws-sdk/nested-clients': ['.constructor', 'global console', 'process.version'],
  '@aws-sdk/token-providers': ['process.env', 'require node:fs', 'node:fs.promises'],
  // Keeps a request's context in AWS Lambda, where it says so in the environment.
  '@aws/lambda-invoke-store': ['global awslambda', 'import(node:async_hooks)', 'process.env'],
  '@smithy/core': [
    ...['.constructor', 'global console', 'global crypto', 'process *', 'process.env', 'process.geteuid'],
    // Asks the instance's metadata service for a region where none is given.
    'import(node:http)',
    ...['require node:crypto', 'node:crypto *', 'require node:fs', 'node:fs *', 'require node:fs/promises'],
    ...['node:fs/promises *', 'require node:os', 'node:os *', 'require node:path', 'node:path *'],
    ...['require node:stream', 'node:stream *', 'require node:zlib', 'node:zlib *'],
  ],
  '@smithy/credential-provider-imds': ['global console', 'process.env', 'require node:http', 'node:http.request'],
  // HTTPS through the agent above. It knows plain HTTP and HTTP/2, too, which the endpoint's `https:` does not choose.
  '@smithy/node-http-handler': [
    ...['global console', 'require node:http', 'node:http *', 'require node:http2', 'node:http2.connect'],
    ...['node:http2.constants', 'require node:https', 'node:https.Agent', 'node:https.request'],
    ...['require node:stream', 'node:stream.Readable'],
  ],
  'cbor-x': [
    ...['.constructor', 'global console', 'global define', 'global self', 'globalThis *'],
    ...['global packedObjectMap', 'global sharedPackedObjectMap'],
  ],
  '@noble/hashes': ['.constructor'],
};

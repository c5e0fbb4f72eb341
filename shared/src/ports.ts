/** vsock ports of the appliance. An image has them built in; a host's configuration names those of its enclave. */
export const VSOCK_PORTS = {
  /** The enclave listens: requests. */
  data: 5000,
  /** The enclave listens: freezes, on a connection of their own. */
  control: 5001,
  /** The parent listens: the way to KMS. */
  kmsTunnel: 5002,
} as const;

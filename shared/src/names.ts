/** How the names that host and enclave must agree on are spelled. */

/** A deployment: signed inside every request and statement, measured into the enclave, set on the host. */
export const DEPLOYMENT_NAME = /^[a-z0-9][a-z0-9.-]{0,63}$/;

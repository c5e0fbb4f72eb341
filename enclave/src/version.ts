/** The version the attestation names. */
export const VERSION = '0.1.0';

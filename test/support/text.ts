export const signedText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const textBytes = (text: string): Uint8Array => new TextEncoder().encode(text);

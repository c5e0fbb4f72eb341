/** Refusals with AWS's names and HTTP statuses (KMS API reference, "Common Errors" and each action's list). */

export const KMS_ERRORS = {
  AccessDeniedException: 400,
  AlreadyExistsException: 400,
  DisabledException: 400,
  DryRunOperationException: 400,
  ExpiredTokenException: 400,
  IncompleteSignatureException: 400,
  IncorrectKeyException: 400,
  InvalidArnException: 400,
  InvalidCiphertextException: 400,
  InvalidKeyUsageException: 400,
  InvalidSignatureException: 400,
  KMSInternalException: 500,
  KMSInvalidStateException: 400,
  MalformedPolicyDocumentException: 400,
  MissingAuthenticationTokenException: 400,
  NotFoundException: 400,
  RequestEntityTooLargeException: 413,
  SerializationException: 400,
  ServiceUnavailableException: 503,
  ThrottlingException: 400,
  UnknownOperationException: 400,
  UnrecognizedClientException: 400,
  UnsupportedOperationException: 400,
  ValidationException: 400,
} as const;

export type KmsErrorName = keyof typeof KMS_ERRORS;

export class KmsError extends Error {
  readonly type: KmsErrorName;

  constructor(type: KmsErrorName, message = '', options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'KmsError';
    this.type = type;
  }

  get status(): number {
    return KMS_ERRORS[this.type];
  }
}

export const validation = (message: string): KmsError =>
  new KmsError('ValidationException', `1 validation error detected: ${message}`);

/** All targets. */
import type { Target } from '../engine/target.ts';
import { adminReplies, hostAnswers, securityModule } from './answers.ts';
import {
  attestationDocument,
  attestationVerify,
  certificates,
  der,
  documentEncodings,
  pcrSets,
} from './attestation.ts';
import { auditSeen } from './audit.ts';
import { alerts, signBodies, webhookHeaders } from './bodies.ts';
import { cbor } from './cbor.ts';
import { cms } from './cms.ts';
import { enclaveConfig, hostConfig } from './configs.ts';
import { enclaveConnection } from './connection.ts';
import { eif, eifSignature, signingCertificate } from './eif.ts';
import { leaves, packed, states, structs } from './evidence.ts';
import { credentialsFile, freezeMarkers, operatorsFile, secretsFile, tokensFile } from './files.ts';
import { frameStream, frames } from './frames.ts';
import { http } from './http.ts';
import { json } from './json.ts';
import { agentReplies, agentRequests, replies, requests } from './messages.ts';
import { instanceMetadata } from './metadata.ts';
import { keyText, migrationFiles, migrationOrders } from './migration.ts';
import { ownerEnvelopes, policyCanonical, policyDocuments } from './policies.ts';
import { rowKeyBlob } from './row-key-blob.ts';
import { instructionData, judged, messagesOfSolana, transactions } from './solana.ts';
import { chainFile, successionFiles } from './succession.ts';
import { rpcAnswers, sweepPlans, tokenAccounts } from './sweep.ts';
import { base58, encodings, panicCodes, requestHeaders, shortTexts, verifierKeys } from './text.ts';
import { checkpoints, notes, receiptFiles, tiles, witnessRequests } from './tlog.ts';

export const TARGETS: readonly Target[] = [
  frames,
  frameStream,
  cbor,
  requests,
  replies,
  agentRequests,
  agentReplies,
  enclaveConnection,
  leaves,
  structs,
  states,
  packed,
  rowKeyBlob,
  cms,
  attestationDocument,
  documentEncodings,
  der,
  certificates,
  attestationVerify,
  pcrSets,
  eif,
  eifSignature,
  signingCertificate,
  json,
  base58,
  keyText,
  migrationOrders,
  migrationFiles,
  encodings,
  shortTexts,
  verifierKeys,
  panicCodes,
  requestHeaders,
  notes,
  checkpoints,
  witnessRequests,
  tiles,
  receiptFiles,
  auditSeen,
  policyDocuments,
  policyCanonical,
  ownerEnvelopes,
  transactions,
  messagesOfSolana,
  judged,
  instructionData,
  signBodies,
  webhookHeaders,
  alerts,
  hostConfig,
  enclaveConfig,
  operatorsFile,
  credentialsFile,
  tokensFile,
  secretsFile,
  freezeMarkers,
  successionFiles,
  chainFile,
  hostAnswers,
  rpcAnswers,
  tokenAccounts,
  sweepPlans,
  adminReplies,
  securityModule,
  instanceMetadata,
  http,
];

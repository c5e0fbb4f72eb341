/** Every command of qv. A new one is a file under `commands/` and a line here. */
import type { Command } from './command.ts';
import { backup } from './commands/backup.ts';
import { backupVerify } from './commands/backup-verify.ts';
import { completion } from './commands/completion.ts';
import { doctor } from './commands/doctor.ts';
import { help } from './commands/help.ts';
import { importKey } from './commands/import.ts';
import { initApiToken } from './commands/init-api-token.ts';
import { initKmsKey } from './commands/init-kms-key.ts';
import { initKmsPolicy } from './commands/init-kms-policy.ts';
import { initOperator } from './commands/init-operator.ts';
import { initRowKey } from './commands/init-row-key.ts';
import { initTotp } from './commands/init-totp.ts';
import { initWitness } from './commands/init-witness.ts';
import { inspectAttestation } from './commands/inspect-attestation.ts';
import { keyPolicyCheck } from './commands/key-policy-check.ts';
import { keyPolicyRole } from './commands/key-policy-role.ts';
import { kill } from './commands/kill.ts';
import { leaseApply } from './commands/lease-apply.ts';
import { leaseRequest } from './commands/lease-request.ts';
import { leaseSign } from './commands/lease-sign.ts';
import { logExport } from './commands/log-export.ts';
import { logFetch } from './commands/log-fetch.ts';
import { measure } from './commands/measure.ts';
import { metrics } from './commands/metrics.ts';
import { migratePlan } from './commands/migrate-plan.ts';
import { migrateRun } from './commands/migrate-run.ts';
import { migrateSeal } from './commands/migrate-seal.ts';
import { migrateSign } from './commands/migrate-sign.ts';
import { migrateVerify } from './commands/migrate-verify.ts';
import { panic } from './commands/panic.ts';
import { policyCheck } from './commands/policy-check.ts';
import { policyJudge } from './commands/policy-judge.ts';
import { policyNext } from './commands/policy-next.ts';
import { policyStatement } from './commands/policy-statement.ts';
import { releaseApply } from './commands/release-apply.ts';
import { releaseOrder } from './commands/release-order.ts';
import { releaseTake } from './commands/release-take.ts';
import { restore } from './commands/restore.ts';
import { resume } from './commands/resume.ts';
import { resumeStatement } from './commands/resume-statement.ts';
import { rotateRowKey } from './commands/rotate-row-key.ts';
import { rotateWallet } from './commands/rotate-wallet.ts';
import { rotateWallets } from './commands/rotate-wallets.ts';
import { status } from './commands/status.ts';
import { successorCancel } from './commands/successor-cancel.ts';
import { successorClaim } from './commands/successor-claim.ts';
import { successorComplete } from './commands/successor-complete.ts';
import { successorName } from './commands/successor-name.ts';
import { successorRemove } from './commands/successor-remove.ts';
import { successorShow } from './commands/successor-show.ts';
import { txDecode } from './commands/tx-decode.ts';
import { verifyAttestation } from './commands/verify-attestation.ts';
import { verifyLog } from './commands/verify-log.ts';
import { verifyReceipt } from './commands/verify-receipt.ts';
import { version } from './commands/version.ts';
import { walletLook } from './commands/wallet-look.ts';
import { walletRetire } from './commands/wallet-retire.ts';
import { walletSweep } from './commands/wallet-sweep.ts';
import { witness } from './commands/witness.ts';

/** In the order in which help lists them. */
export const COMMANDS: readonly Command[] = [
  kill,
  resume,
  resumeStatement,
  panic,
  status,
  doctor,
  metrics,
  backup,
  backupVerify,
  restore,
  releaseOrder,
  releaseApply,
  releaseTake,
  leaseRequest,
  leaseSign,
  leaseApply,
  initKmsKey,
  initKmsPolicy,
  keyPolicyCheck,
  keyPolicyRole,
  initRowKey,
  rotateRowKey,
  rotateWallet,
  rotateWallets,
  initOperator,
  initTotp,
  initApiToken,
  initWitness,
  witness,
  importKey,
  migratePlan,
  migrateSign,
  migrateSeal,
  migrateRun,
  migrateVerify,
  walletLook,
  walletSweep,
  walletRetire,
  successorName,
  successorRemove,
  successorClaim,
  successorCancel,
  successorComplete,
  successorShow,
  verifyAttestation,
  verifyReceipt,
  verifyLog,
  inspectAttestation,
  measure,
  logFetch,
  logExport,
  policyCheck,
  policyJudge,
  policyNext,
  policyStatement,
  txDecode,
  completion,
  help,
  version,
];

/** All checks of the addon, in the order in which they run. */
import type { Check } from '../checks.ts';
import { FLOW } from './flow.ts';
import { KERNEL } from './kernel.ts';
import type { Addon } from './kit.ts';
import { LIFETIME } from './lifetime.ts';

export const ADDON_CHECKS: readonly Check<Addon>[] = [...FLOW, ...LIFETIME, ...KERNEL];

/**
 * The order in which test files start: those that take minutes first, so that no worker is left alone with one of them
 * while the others have nothing to do any more.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const LONGEST_FIRST = ['test/vm/scenario.', 'test/load/', 'test/e2e/', 'test/host/', 'test/'];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = (file: TestSpecification) => LONGEST_FIRST.findIndex((folder) => file.moduleId.includes(`/${folder}`));
    return sorted.sort((one, other) => rank(one) - rank(other));
  }
}

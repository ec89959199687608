import { beforeEach } from "vitest";

/**
 * For tests of which each goes on where the one before ended: behind the first that fails the others are skipped, as they could
 * only say the same. To be called beside them.
 */
export function stepByStep(): void {
  let hasFailed = false;
  beforeEach(({ skip, onTestFailed }) => {
    if (hasFailed) skip("an earlier step failed");
    onTestFailed(() => {
      hasFailed = true;
    });
  });
}

import { beforeEach } from "vitest";

/**
 * For tests that each continue where the one before ended: after the first failure, the others are skipped, because they would
 * fail for the same reason. Call it in their `describe`.
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

import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, by their names. */
const LONGEST = [
  "sweep",
  "kills",
  "machine-backups",
  "edge",
  "machine-check",
  "drift",
  "doctor",
  "backups",
  "errors",
  "serve",
  "public-changes",
];

/** Starts the longest files first, so that none of them runs alone at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return index === -1 ? LONGEST.length : index;
    };
    return (await super.sort(files)).toSorted((left, right) => rank(left) - rank(right));
  }
}

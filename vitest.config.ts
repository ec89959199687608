import { defineConfig } from "vitest/config";

import { LongestFirst } from "./test/sequencer.ts";

export default defineConfig({
  test: {
    reporters: ["default", "./test/reporter.ts"],
    // Contract and end-to-end tests mostly wait; two at a time halve the time on the smallest computer.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          // Some start programs, which takes long on a busy computer.
          testTimeout: 60_000,
          expect: { requireAssertions: true },
          // They leave nothing behind in their process, and importing the SDKs takes longer than all of them.
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "contract",
          include: ["test/contract/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          // A busy computer takes its time to start a container.
          expect: { poll: { timeout: 30_000 } },
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: "long",
          include: ["test/long/**/*.test.ts"],
          testTimeout: 1_200_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});

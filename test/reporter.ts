import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with one line for programs: how many tests passed and failed. */
export default class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const passed = tests.filter((test) => test.result().state === "passed").length;
    const failed = tests.filter((test) => test.result().state === "failed").length;
    const skipped = tests.length - passed - failed;
    // A file that could not be loaded has no tests to count, and an uncaught error belongs to no test.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandledErrors.length;
    const totals = `${passed} passed, ${failed + broken} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
    process.once("exit", () => process.stdout.write(`${totals}\n`));
  }
}

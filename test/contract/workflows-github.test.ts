import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { GitHub } from "./workflows-github.ts";
import { type JobResult, runJob, Workspace } from "./workflows-runner.ts";

/** A stand-in for the drift check: writes $FOUND to the step's report, and ends with exit code $ENDS. */
const DRIFT_STAND_IN =
  'printf "%s" "$FOUND" >> "$GITHUB_STEP_SUMMARY"; echo "asked:"; printf "%s\\n" "$FOUND"; exit "$ENDS"';

let github: GitHub;
let workspace: Workspace;
let temporary: string;

beforeEach(async () => {
  github = await GitHub.start();
  workspace = await Workspace.make({ drift: DRIFT_STAND_IN });
  temporary = await mkdtemp(path.join(tmpdir(), "convex-droplet-runner-"));
});

afterEach(async () => {
  await github[Symbol.asyncDispose]();
  await workspace[Symbol.asyncDispose]();
  await rm(temporary, { recursive: true, force: true });
});

function environment(): Record<string, string> {
  return { ...github.environment, RUNNER_TEMP: temporary };
}

describe("the scheduled drift check", () => {
  /** Runs the workflow once, with a check that ends with this exit code and report. */
  function look(exitCode: number, found: string, stack = "dev"): Promise<JobResult> {
    return runJob(
      "drift.yml",
      workspace.folder,
      { inputs: { stack }, github: { token: github.token } },
      { ...environment(), ENDS: String(exitCode), FOUND: found },
    );
  }

  const exitCodes = ({ steps }: JobResult) => Object.values(steps).map(({ exitCode }) => exitCode);

  it("opens one issue on drift, updates it while there is drift, closes it after that, and opens another one later", async () => {
    github.addIssue({ title: "Somebody's own", user: { login: "somebody" } });

    expect(exitCodes(await look(0, ""))).toEqual([0, 0, 0]);
    expect(github.changes).toEqual([]);

    const first = await look(2, "postgres.pg_hba: unexpected line 12");
    expect(exitCodes(first)).toEqual([0, 0, 0]);
    expect(first.summary).toBe("postgres.pg_hba: unexpected line 12");
    expect(github.changes).toEqual(["POST /repos/acme/convex/issues"]);
    const [, issue] = github.issues;
    expect(issue?.title).toBe("Stack dev has drifted");
    expect(issue?.body).toMatch(
      /^<!-- convex-droplet drift: dev -->\npostgres\.pg_hba: unexpected line 12\n\[Run of \d{4}-\d\d-\d\d \d\d:\d\d UTC\]\(https:\/\/github\.example\/acme\/convex\/actions\/runs\/42\)\n$/,
    );

    await look(2, "machine.sshd: PasswordAuthentication is yes");
    expect(github.issues).toHaveLength(2);
    expect(issue?.body).toContain("machine.sshd: PasswordAuthentication is yes");
    expect(issue?.body).not.toContain("pg_hba");

    await look(0, "Nothing has drifted.");
    expect(issue).toMatchObject({ state: "closed", state_reason: "completed" });
    expect(issue?.comments.map(({ body }) => body.split("\n")[0])).toEqual(["Nothing has drifted."]);

    await look(2, "again");
    expect(github.changes.slice(1)).toEqual([
      "PATCH /repos/acme/convex/issues/2",
      "POST /repos/acme/convex/issues/2/comments",
      "PATCH /repos/acme/convex/issues/2",
      "POST /repos/acme/convex/issues",
    ]);
    expect(github.issues.map(({ state }) => state)).toEqual(["open", "closed", "open"]);
  });

  it("fails and does not change the issue if drift could not be checked", async () => {
    await look(2, "something");
    const before = structuredClone(github.issues);
    // Exit code 1, another error, and 2 without a report.
    for (const [ends, found] of [
      [1, "cannot reach the droplet"],
      [127, ""],
      [2, ""],
    ] as const) {
      const { steps } = await look(ends, found);
      expect(Object.keys(steps)).toEqual(["Install the packages", "Check for drift"]);
      expect(steps["Check for drift"]?.exitCode).toBe(1);
      expect(steps["Check for drift"]?.all).toContain(`could not be checked (exit code ${ends})`);
    }
    expect(github.issues).toEqual(before);
    expect(github.changes).toHaveLength(1);
  });

  it("has one issue for each stack, and never changes somebody else's issue", async () => {
    const mark = "<!-- convex-droplet drift: dev -->";
    const foreign = github.addIssue({ body: mark, user: { login: "somebody" } });
    github.addIssue({ body: mark, pull_request: {} });
    // More than a page of other issues.
    for (let count = 0; count < 120; count += 1) github.addIssue({});
    await look(2, "of dev", "dev");
    await look(2, "of prod", "prod");
    await look(2, "still of dev", "dev");
    expect(foreign.body).toBe(mark);
    expect(github.issues).toHaveLength(124);
    expect(github.issues.slice(-2).map(({ title }) => title)).toEqual([
      "Stack dev has drifted",
      "Stack prod has drifted",
    ]);
    await look(0, "clean", "prod");
    expect(github.issues.slice(-2).map(({ state }) => state)).toEqual(["open", "closed"]);
  });

  it("cuts a report that is too long for an issue", async () => {
    await writeFile(path.join(temporary, "drift.md"), "x".repeat(100_000));
    await runJob(
      "drift.yml",
      workspace.folder,
      // The output that the step before would have.
      { inputs: { stack: "dev" }, github: { token: github.token }, steps: { drift: { status: "drift" } } },
      environment(),
      ["Update the issue"],
    );
    expect(github.issues[0]?.body).toHaveLength(65_536);
    expect(github.issues[0]?.body).toMatch(/… and more: the rest is in the run's summary\.\n$/);
  });
});

describe("the comment on a pull request", () => {
  async function comment(number: number, report: string | undefined, stack = "dev"): Promise<JobResult> {
    const file = path.join(temporary, "preview.md");
    await (report === undefined ? rm(file, { force: true }) : writeFile(file, report));
    return runJob(
      "preview.yml",
      workspace.folder,
      { inputs: { stack }, github: { token: github.token, event: { pull_request: { number } } } },
      environment(),
      ["Comment"],
    );
  }

  it("is created once for each stack, and then updated to the last preview", async () => {
    const pull = github.addIssue({ pull_request: {} });
    for (let count = 0; count < 120; count += 1) github.addComment(pull, { user: { login: "somebody" } });
    const foreign = github.addComment(pull, {
      body: "<!-- convex-droplet preview: dev -->",
      user: { login: "somebody" },
    });

    expect((await comment(pull.number, "1 to create")).steps["Comment"]?.exitCode).toBe(0);
    await comment(pull.number, "2 to create", "prod");
    await comment(pull.number, "3 to create");
    const own = pull.comments.slice(121);
    expect(own.map(({ body }) => body.split("\n").slice(0, 2))).toEqual([
      ["<!-- convex-droplet preview: dev -->", "3 to create"],
      ["<!-- convex-droplet preview: prod -->", "2 to create"],
    ]);
    expect(foreign.body).toBe("<!-- convex-droplet preview: dev -->");
    expect(github.changes).toEqual([
      "POST /repos/acme/convex/issues/1/comments",
      "POST /repos/acme/convex/issues/1/comments",
      `PATCH /repos/acme/convex/issues/comments/${own[0]?.id}`,
    ]);
  });

  it("says that the preview failed if there is no report", async () => {
    const pull = github.addIssue({ pull_request: {} });
    await comment(pull.number, undefined);
    expect(pull.comments[0]?.body).toContain("**The preview failed.**");
  });

  it("fails with GitHub's answer if GitHub refuses, and without the token", async () => {
    const pull = github.addIssue({ pull_request: {} });
    const run = await runJob(
      "preview.yml",
      workspace.folder,
      {
        inputs: { stack: "dev" },
        github: { token: "a-wrong-token", event: { pull_request: { number: pull.number } } },
      },
      environment(),
      ["Comment"],
    );
    expect(run.steps["Comment"]?.exitCode).toBe(1);
    expect(run.steps["Comment"]?.all).toContain("error: Bad credentials");
    expect(run.steps["Comment"]?.all).not.toContain("a-wrong-token");
  });
});

it("names the variable that a step's environment lacks", async () => {
  const contexts = { inputs: { stack: "dev" }, github: { token: "", event: { pull_request: { number: 1 } } } };
  const run = await runJob("preview.yml", workspace.folder, contexts, environment(), ["Comment"]);
  expect(run.steps["Comment"]?.all).toContain("error: GITHUB_TOKEN: is not set");
});

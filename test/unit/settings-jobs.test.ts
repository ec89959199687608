import { beforeEach, describe, expect, it } from "vitest";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

const IMAGE = `ghcr.io/me/web@sha256:${"a".repeat(64)}`;
const OTHER = `ghcr.io/me/job@sha256:${"b".repeat(64)}`;
const WEB = {
  ...{ image: IMAGE, port: 3000, memoryMb: 256, cpus: 0.5, folders: { data: "/data" }, folderOwner: 1000 },
  ...{ variables: { MODE: "fast", TOKEN: "x" }, references: { KEY: "secret:auth", URL: "convex.url" } },
};
const STACK = { generatedSecrets: { auth: {} }, apps: { web: WEB } };

beforeEach(async () => {
  await mockEngine();
});

function jobsOf(jobs: Record<string, unknown>) {
  configure({ ...STACK, jobs });
  return loadSettings().apps.jobs;
}

describe("jobs", () => {
  it("need only an image, and have defaults for the rest", () => {
    expect(jobsOf({ migrate: { image: OTHER } })).toEqual([
      {
        ...{
          name: "migrate",
          image: OTHER,
          command: [],
          variables: {},
          references: {},
          memoryMb: 512,
          cpus: undefined,
        },
        ...{ folders: {}, folderOwner: "0:0", foldersOf: "migrate", port: undefined, dependsOn: [], before: [] },
        ...{ after: [], afterApps: false, timeoutSeconds: 600 },
      },
    ]);
  });

  it("have everything of their app's container, but for what they set themselves", () => {
    const [job] = jobsOf({
      migrate: {
        ...{ app: "web", command: ["node", "migrate.js"], memoryMb: 64, before: ["web"], timeoutSeconds: 5 },
        ...{ variables: { MODE: "all", KEY: "own" }, references: { TOKEN: "convex.adminKey" } },
      },
    });
    expect(job).toEqual({
      ...{ name: "migrate", image: IMAGE, command: ["node", "migrate.js"], memoryMb: 64, cpus: "0.5", port: 3000 },
      variables: { MODE: "all", KEY: "own" },
      references: { URL: { of: "convex", what: "url" }, TOKEN: { of: "convex", what: "adminKey" } },
      ...{ folders: { data: "/data" }, folderOwner: "1000:1000", foldersOf: "web" },
      ...{ dependsOn: [], before: ["web"], after: [], afterApps: false, timeoutSeconds: 5 },
    });
  });

  it("have the variables of their app, also with a name that objects have", () => {
    configure({
      apps: { web: { image: IMAGE, variables: { constructor: "x" } } },
      jobs: { migrate: { app: "web", command: ["x"] } },
    });
    expect(Object.keys(loadSettings().apps.jobs[0]?.variables ?? {})).toEqual(["constructor"]);
  });

  it("have their app's limits unless they set their own", () => {
    expect(jobsOf({ migrate: { app: "web", command: ["x"] } })).toMatchObject([{ memoryMb: 256, cpus: "0.5" }]);
    expect(jobsOf({ migrate: { app: "web", command: ["x"], cpus: 1 } })).toMatchObject([{ memoryMb: 256, cpus: "1" }]);
  });

  it("run after those that they depend on, otherwise by name", () => {
    const job = (...dependsOn: string[]) => ({ image: OTHER, dependsOn });
    expect(jobsOf({ a: job("c"), b: job(), c: job() }).map(({ name }) => name)).toEqual(["c", "a", "b"]);
  });

  it("run after apps if they, or one that they depend on, wait for an app", () => {
    const job = (...dependsOn: string[]) => ({ image: OTHER, dependsOn });
    const jobs = jobsOf({ a: job("b"), b: job("smoke"), c: job(), smoke: { ...job(), after: ["web"] } });
    expect(jobs.map(({ name, afterApps }) => [name, afterApps])).toEqual([
      ...[
        ["smoke", true],
        ["b", true],
        ["a", true],
        ["c", false],
      ],
    ]);
  });

  it("cannot run before apps if one that they depend on runs after them", () => {
    const jobs = {
      smoke: { image: OTHER, after: ["web"] },
      next: { image: OTHER, dependsOn: ["smoke"] },
      last: { image: OTHER, dependsOn: ["next"], before: ["web"] },
    };
    expect(mistakesOf({ ...STACK, jobs })).toEqual([
      "convex-droplet:jobs.last.before: is set although the job depends on next, which runs after apps, it should be absent, because all apps get their requests in one step. Remove it with: npx pulumi config rm --stack test --path jobs.last.before",
    ]);
  });
});

it.each<[string, Record<string, unknown>, string, string]>([
  [
    "neither image nor app",
    {},
    ".image",
    "is missing, it should be the job's image, or app the app whose image it has. Set it with: npx pulumi config set --stack test --path jobs.migrate.image REPOSITORY@sha256:DIGEST, which docker pull prints; or set the app with: npx pulumi config set --stack test --path jobs.migrate.app APP",
  ],
  [
    "an image beside an app",
    { app: "web", image: OTHER, command: ["x"] },
    ".image",
    "is set beside app, it should be the app's. Remove it with: npx pulumi config rm --stack test --path jobs.migrate.image",
  ],
  [
    "folders beside an app",
    { app: "web", folders: { own: "/own" }, command: ["x"] },
    ".folders",
    "is set beside app, it should be the app's.",
  ],
  [
    "an app without a command",
    { app: "web" },
    ".command",
    "is missing, it should be a list of words, because without it the image would start the app. Set it with: npx pulumi config set --stack test --path 'jobs.migrate.command[0]' WORD",
  ],
  [
    "a command without a program",
    { image: OTHER, command: ["", "x"] },
    ".command[0]",
    "is empty, it should be a program. Set it with: npx pulumi config set --stack test --path 'jobs.migrate.command[0]' WORD",
  ],
  [
    "an unknown app",
    { app: "api", command: ["x"] },
    ".app",
    '"api" is not an app, it should be one of apps: web. Set it with: npx pulumi config set --stack test --path jobs.migrate.app APP',
  ],
  [
    "an unknown app that waits",
    { image: OTHER, before: ["web", "api"] },
    ".before[1]",
    "\"api\" is not an app, it should be one of apps: web. Remove it with: npx pulumi config rm --stack test --path 'jobs.migrate.before[1]'",
  ],
  [
    "an unknown app to wait for",
    { image: OTHER, after: ["api"] },
    ".after[0]",
    "\"api\" is not an app, it should be one of apps: web. Remove it with: npx pulumi config rm --stack test --path 'jobs.migrate.after[0]'",
  ],
  [
    "a job before and after apps",
    { image: OTHER, before: ["web"], after: ["web"] },
    ".before",
    "is set beside after, it should be absent, because all apps get their requests in one step. Remove it with: npx pulumi config rm --stack test --path jobs.migrate.before",
  ],
  [
    "an unknown job",
    { image: OTHER, dependsOn: ["web"] },
    ".dependsOn[0]",
    '"web" is not a job, it should be one of the others: there is none.',
  ],
  [
    "a job that waits for itself",
    { image: OTHER, dependsOn: ["migrate"] },
    ".dependsOn[0]",
    '"migrate" closes a circle (migrate → migrate), none of them could start first, it should depend on no job that waits for it.',
  ],
  [
    "a tag",
    { image: "ghcr.io/me/job:latest" },
    ".image",
    '"ghcr.io/me/job:latest" may be another image tomorrow, it should be pinned',
  ],
  ["an option of apps", { image: OTHER, hosts: ["x"] }, ".hosts", "is not an option of a job, it should be one;"],
  ["too much time", { image: OTHER, timeoutSeconds: 9000 }, ".timeoutSeconds", "9000 is above 7200,"],
  [
    "an unknown reference",
    { image: OTHER, references: { KEY: "convex.key" } },
    ".references.KEY",
    '"convex.key" is not a reference, it should be one of convex.url, convex.siteUrl, convex.internalUrl, database:NAME.url, secret:NAME, app:NAME.url, app:NAME.publicUrl, convex.adminKey.',
  ],
  [
    "a variable that is also a reference",
    { image: OTHER, variables: { KEY: "x" }, references: { KEY: "convex.adminKey" } },
    ".references.KEY",
    "is also in variables, it should be in one of them. Remove one with: npx pulumi config rm --stack test --path jobs.migrate.variables.KEY",
  ],
  ["no map", "node migrate.js" as never, "", "is not a map, it should map the options of a job to their values."],
])("%s: refused with its fix", (_, options, option, message) => {
  const mistakes = mistakesOf({ ...STACK, jobs: { migrate: options } });
  expect(mistakes).toEqual([expect.stringContaining(`convex-droplet:jobs.migrate${option}: ${message}`)]);
});

it.each([
  ["Migrate", "is not a name for a job, it should have up to 32 lower-case letters, digits and -, a letter first."],
  ["web", "is also the name of an app, it should be another, because folders on the volume have it. Rename it."],
])("the name %s: refused", (name, message) => {
  expect(mistakesOf({ ...STACK, jobs: { [name]: { image: OTHER } } })).toEqual([
    expect.stringContaining(`convex-droplet:jobs.${name}: ${message}`),
  ]);
});

it("jobs that are no map: refused", () => {
  expect(mistakesOf({ jobs: ["migrate"] })).toEqual([
    expect.stringMatching(/^convex-droplet:jobs: is not a map, it should map names of jobs to their options\./),
  ]);
});

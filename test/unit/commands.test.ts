import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** The commands that parse their own arguments, and what is printed about their errors; as on a sandbox, if wanted. */
async function load(onSandbox: boolean) {
  vi.resetModules();
  vi.stubEnv("CONVEX_DROPLET_ON_SANDBOX", onSandbox ? "true" : undefined);
  const [{ messageOf }, env, drift, doctor, backup, restore, drill, snapshot, moveIn, reset] = await Promise.all([
    import("../../operations/arguments.ts"),
    import("../../operations/env/command.ts"),
    import("../../operations/drift/command.ts"),
    import("../../operations/doctor/command.ts"),
    import("../../operations/backups/backup.ts"),
    import("../../operations/backups/restore.ts"),
    import("../../operations/backups/drill.ts"),
    import("../../operations/backups/snapshot.ts"),
    import("../../operations/move-in/command.ts"),
    import("../../operations/reset.ts"),
  ]);
  const commands = {
    ...{ env: env.writeEnvironment, drift: drift.runDrift, doctor: doctor.runDoctor, backup: backup.runBackup },
    ...{ restore: restore.runRestore, drill: drill.runDrill, snapshot: snapshot.runSnapshot },
    ...{ "move-in": moveIn.runMoveIn, reset: reset.runReset },
  };
  const refused = (name: keyof typeof commands, words: string[]) =>
    commands[name](words).then(
      () => "",
      (error: unknown) => messageOf(error, name),
    );
  return { commands, refused };
}
type Command = keyof Awaited<ReturnType<typeof load>>["commands"];

/** Runs a program of this checkout, where no other program can be found. */
async function run(program: string, words: string[], env: Record<string, string> = {}) {
  const options = { env: { PATH: "/nowhere", ...env }, extendEnv: false, reject: false, stdin: "ignore" } as const;
  const { exitCode, stdout, stderr } = await execa(process.execPath, [program, ...words], options);
  return { exitCode, stdout, stderr };
}
const operate = (words: string[], env?: Record<string, string>) => run("operations/cli.ts", words, env);
const ON_SANDBOX = { CONVEX_DROPLET_ON_SANDBOX: "true" };

describe("a command's help", () => {
  it.each([
    [false, /^Usage: npm run ([\w-]+) -- --stack STACK/, /npm run sandbox/],
    [true, /^Usage: npm run sandbox -- ([\w-]+) --stack STACK/, /npm run (?!sandbox)[\w-]+ --/],
  ])("has the form that works (on a sandbox: %s)", async (onSandbox, usage, otherForm) => {
    const { commands } = await load(onSandbox);
    const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    for (const [name, command] of Object.entries(commands)) {
      write.mockClear();
      expect(await command(["--help"])).toBe(0);
      const help = String(write.mock.calls[0]?.[0]);
      expect(usage.exec(help)?.[1]).toBe(name);
      expect(help).not.toMatch(otherForm);
    }
  });

  it("is there for ssh and tunnel, too", async () => {
    const help = (await operate(["--help"])).stdout;
    expect(help).toMatch(/^Usage: npm run ssh -- --stack STACK \[COMMAND \.\.\.\]\n/);
    expect(await operate(["tunnel", "--help"])).toEqual({ exitCode: 0, stdout: help, stderr: "" });
    const onSandbox = (await operate(["ssh", "--help"], ON_SANDBOX)).stdout;
    expect(onSandbox).toMatch(/^Usage: npm run sandbox -- ssh --stack STACK \[COMMAND \.\.\.\]\n/);
  });
});

describe("a mistake in a command's arguments", () => {
  it.each<[Command, string[], string]>([
    ["backup", ["nwo"], "nwo: is not known, it should be now, list or verify."],
    ["backup", ["list", "all"], "list all: is not known, it should be now, list or verify."],
    ["snapshot", ["nwo"], "nwo: is not known, it should be list, now or delete NAME."],
    ["drift", ["--format", "yaml"], "--format: yaml is not known, it should be one of text, json, github."],
    ["reset", ["now"], "Unexpected argument 'now'. This command does not take positional arguments"],
    ["restore", ["--to", "--yes"], "Option '--to' argument is ambiguous."],
    ["env", ["--ci", "gitlab"], "env: --ci should be github, without --file."],
    [
      "move-in",
      [],
      "the old installation: is not named, it should be either --from USER@HOST, or both --dump FILE and --files TAR.",
    ],
  ])("of %s %j is one line, and names the help", async (name, words, message) => {
    const all = ["--stack", "dev", ...words];
    expect(await (await load(false)).refused(name, all)).toBe(`${message}\nSee: npm run ${name} -- --help`);
    expect(await (await load(true)).refused(name, all)).toBe(`${message}\nSee: npm run sandbox -- ${name} --help`);
  });

  it.each([
    [
      "operations/cli.ts",
      "",
      "the command: is not given, it should be one of ssh, tunnel, env, ",
      "npm run ssh -- --help",
    ],
    [
      "operations/cli.ts",
      "scp",
      "scp: is not a command, it should be one of ssh, tunnel, env, ",
      "npm run ssh -- --help",
    ],
    [
      "operations/cli.ts",
      "ssh ls --stack dev",
      "ls: is not known, --stack STACK should follow ssh.",
      "npm run ssh -- --help",
    ],
    [
      "operations/cli.ts",
      "tunnel --stack dev ls",
      "ls: is not known, nothing should follow the stack's name.",
      "npm run tunnel -- --help",
    ],
    ["operations/ci/cli.ts", "nwo", "nwo: is not known, it should be one of preview, ", "npm run workflow -- --help"],
    [
      "operations/ci/cli.ts",
      "issue --stack dev",
      "issue: has no --report, --status, it ",
      "npm run workflow -- --help",
    ],
    ["sandbox/cli.ts", "nwo", "nwo: is not a command of the sandbox.", "npm run sandbox -- help"],
    ["sandbox/cli.ts", "down --forec", "Unknown option '--forec'", "npm run sandbox -- help"],
  ])("of %s is one line, and names the help: '%s'", async (program, words, message, see) => {
    const { exitCode, stdout, stderr } = await run(program, words.split(" ").filter(Boolean));
    const lines = stderr.split("\n");
    expect([exitCode, stdout, ...lines]).toEqual([1, "", expect.stringContaining(`error: ${message}`), `See: ${see}`]);
  });
});

describe("a command without a stack", () => {
  it.each([[[]], [["--stack"]], [["-s"]], [["--stack="]]])("%j says that there is none", async (words) => {
    const { commands, refused } = await load(false);
    for (const name of Object.keys(commands) as Command[]) {
      expect(await refused(name, words)).toBe(`${name}: no stack given. Name one: npm run ${name} -- --stack dev`);
    }
  });

  it.each(["ssh", "tunnel -s"])("'%s' says so, too", async (words) => {
    const [name = ""] = words.split(" ");
    const stderr = `error: ${name}: no stack given. Name one: npm run ${name} -- --stack dev`;
    expect(await operate(words.split(" "))).toEqual({ exitCode: 1, stdout: "", stderr });
  });
});

it("a stack of the sandbox is named with the command that works", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-sandbox-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  mkdirSync(path.join(folder, "project"));
  writeFileSync(path.join(folder, "project", "Pulumi.mine.yaml"), "");
  const env = { CONVEX_DROPLET_SANDBOX: folder };
  const words = ["drift", "--stack", "mine", "--ignore", "a b"];
  const { exitCode, stderr } = await operate(words, env);
  expect([exitCode, stderr.split("\n")[0]]).toEqual([
    1,
    "error: stack mine: belongs to the sandbox, so it should be used through it. Run: npm run sandbox -- drift --stack mine --ignore 'a b'",
  ]);
  for (const other of [operate(["drift", "--stack", "other"], env), operate(words, { ...env, ...ON_SANDBOX })]) {
    expect((await other).stderr).toMatch(/^error: stack \w+: its state cannot be read\. /);
  }
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";

/** Where the commands are that parse their own arguments. */
const COMMANDS = {
  up: ["up", "runUp"],
  status: ["status/command", "runStatus"],
  logs: ["logs", "runLogs"],
  task: ["task", "runTask"],
  env: ["env/command", "writeEnvironment"],
  drift: ["drift/command", "runDrift"],
  doctor: ["doctor/command", "runDoctor"],
  backup: ["backups/backup", "runBackup"],
  restore: ["backups/restore", "runRestore"],
  drill: ["backups/drill", "runDrill"],
  snapshot: ["backups/snapshot", "runSnapshot"],
  "move-in": ["move-in/command", "runMoveIn"],
  reset: ["reset", "runReset"],
  upgrade: ["upgrade", "runUpgrade"],
} as const;
type Command = keyof typeof COMMANDS;
const NAMES = Object.keys(COMMANDS) as Command[];

/** What commands print: their help, or their error. All in one process, because a new one takes half a second. */
async function printed(onSandbox: boolean, calls: [Command, ...string[]][]): Promise<string[]> {
  const program = `
    import { messageOf } from "./operations/arguments.ts";
    const write = process.stdout.write.bind(process.stdout);
    const printed = [];
    for (const [name, file, run, words] of ${JSON.stringify(calls.map(([name, ...words]) => [name, ...COMMANDS[name], words]))}) {
      let text = "";
      process.stdout.write = (chunk) => { text += chunk; };
      const command = (await import(\`./operations/\${file}.ts\`))[run];
      await command(words).catch((error) => { text += messageOf(error, name); });
      printed.push(text);
    }
    write(JSON.stringify(printed));`;
  const env = onSandbox ? ON_SANDBOX : {};
  const { stdout } = await execa(process.execPath, ["--input-type=module", "--eval", program], { env });
  return JSON.parse(stdout) as string[];
}

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
    const helps = await printed(
      onSandbox,
      NAMES.map((name) => [name, "--help"]),
    );
    expect(helps.map((help) => usage.exec(help)?.[1])).toEqual(NAMES);
    expect(helps.filter((help) => otherForm.test(help))).toEqual([]);
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
  const MISTAKES: [[Command, ...string[]], string][] = [
    [["logs", "backend", "proxy"], "proxy: is not known, one name is enough."],
    [["task"], "the app: is not given, its name should follow the options."],
    [["logs", "--lines", "all"], "--lines: all is not valid, it should be a number from 0 to 100000."],
    [["backup", "nwo"], "nwo: is not known, it should be now, list or verify."],
    [["backup", "list", "all"], "all: is not known, nothing should follow list."],
    [["snapshot", "nwo"], "nwo: is not known, it should be list, now or delete NAME."],
    [["drift", "--format", "yaml"], "--format: yaml is not known, it should be one of text, json, github."],
    [["reset", "now"], "Unexpected argument 'now'. This command does not take positional arguments"],
    [["restore", "--to", "--yes"], "Option '--to' argument is ambiguous."],
    [["env", "--ci", "gitlab"], "env: --ci should be github, without --file."],
    [
      ["move-in"],
      "the old installation: is not named, it should be either --from USER@HOST, or both --dump FILE and --files TAR.",
    ],
  ];

  it.each([
    [false, (name: string) => `npm run ${name} -- --help`],
    [true, (name: string) => `npm run sandbox -- ${name} --help`],
  ])("is one line, and names the help (on a sandbox: %s)", async (onSandbox, see) => {
    const messages = await printed(
      onSandbox,
      MISTAKES.map(([call]) => [...call, "--stack", "dev"]),
    );
    expect(messages).toEqual(MISTAKES.map(([[name], message]) => `${message}\nSee: ${see(name)}`));
  });

  it.each([
    [
      "operations/cli.ts",
      "",
      "the command: is not given, it should be one of ssh, tunnel, preview, up, ",
      "npm run ssh -- --help",
    ],
    [
      "operations/cli.ts",
      "scp",
      "scp: is not a command, it should be one of ssh, tunnel, preview, up, ",
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
  it("says that there is none, also if the option has no value", async () => {
    const calls = NAMES.flatMap((name) =>
      [[], ["--stack"], ["-s"], ["--stack="], ["--stack", "--help"]].map((words): [Command, ...string[]] => [
        name,
        ...words,
      ]),
    );
    expect(await printed(false, calls)).toEqual(
      calls.map(([name]) => `${name}: no stack given. Name one: npm run ${name} -- --stack dev`),
    );
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

it.each(["operations/cli.ts", "sandbox/cli.ts"])(
  "%s ends without a stack trace once nobody reads its output",
  async (program) => {
    const command = `"$0" ${program} --help | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await execa("bash", ["-c", command, process.execPath]);
    expect([stdout, stderr]).toEqual(["141", ""]);
  },
);

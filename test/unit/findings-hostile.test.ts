import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { type Finding, printable } from "../../operations/findings/finding.ts";
import { compareAccounts } from "../../operations/findings/host/accounts.ts";
import { compareFiles } from "../../operations/findings/host/files.ts";
import { compareListeners } from "../../operations/findings/host/listeners.ts";
import { comparePackages } from "../../operations/findings/host/packages.ts";
import { comparePostgres } from "../../operations/findings/postgres/postgres.ts";
import { compareRoutes } from "../../operations/findings/network/routes.ts";
import { fromScript } from "../../operations/findings/scripts.ts";
import { insideOf, stateOf } from "./findings.ts";

/** Programs that only print their arguments, each on a line of its own between angles. */
const PROGRAMS = mkdtempSync(path.join(tmpdir(), "convex-droplet-programs-"));
for (const program of ["cat", "cp", "journalctl", "rm", "runuser", "passwd", "userdel", "gpasswd", "apt-mark"]) {
  writeFileSync(path.join(PROGRAMS, program), `#!/bin/sh\nprintf '<%s>\\n' ${program} "$@"\n`, { mode: 0o755 });
}
afterAll(() => {
  rmSync(PROGRAMS, { recursive: true });
});

/** The command of the only finding. */
function commandOf(findings: Finding[]): string {
  expect(findings).toHaveLength(1);
  const [{ repair }] = findings as [Finding];
  if ("up" in repair || repair.command === undefined) throw new Error("no command");
  return repair.command;
}

/** What it runs. */
function run(findings: Finding[]): string[] {
  const options = { env: { PATH: PROGRAMS }, encoding: "utf8", stdio: "pipe" } as const;
  const output = execFileSync("/bin/sh", ["-c", commandOf(findings)], options);
  return output
    .trimEnd()
    .split("\n")
    .map((word) => word.replace(/^<(.*)>$/, "$1"));
}

const state = stateOf(
  { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: "ssh-ed25519 AAAADeploy" } },
  { type: "pulumi:providers:postgresql", name: "convex", inputs: { username: "postgres" } },
);
const keys = [{ path: "/root/.ssh/authorized_keys", content: "ssh-ed25519 AAAADeploy" }];

describe("files with blanks, brackets, backslashes and commands in their names", () => {
  it.each([
    ["units.failed", String.raw`systemd-fsck@dev-disk-by\x2duuid-1.service`, "journalctl"],
    ["cron", "/etc/cron.d/my job", "cat"],
    ["cron", "/etc/cron.d/a;echo PWNED", "cat"],
    ["files", "/usr/local/bin/a (copy)", "cat"],
    ["sudoers", "/etc/sudoers.d/$(echo x)", "cat"],
  ])("%s: %s", (fact, name, program) => {
    const words = run(compareFiles(insideOf({ [fact]: name })));
    expect(words.slice(0, 3).filter((word) => word !== "-u")).toContain(name);
    expect(words[0]).toBe(program);
    expect(words).not.toContain("PWNED");
  });

  it("packages.sources", () => {
    const name = "/etc/apt/sources.list.d/my own.list";
    expect(run(comparePackages(insideOf({ "packages.sources": `${name}:1:http://a.example` })))).toEqual(["rm", name]);
  });

  it("packages.changed is valid shell", () => {
    const file = "/usr/lib/python3/dist-packages/setuptools/script (dev).tmpl";
    const command = commandOf(comparePackages(insideOf({ "packages.changed": file })));
    expect(() => execFileSync("/bin/sh", ["-n", "-c", command], { stdio: "pipe" })).not.toThrow();
  });

  it("a script that is no script of the program", () => {
    const file = "/usr/local/lib/convex-droplet/my own.sh";
    const difference = {
      script: "host.sh",
      area: "host",
      subject: `files[${file}]`,
      property: "",
      expected: "nothing",
      found: "file",
    } as const;
    expect(run(fromScript(difference))).toEqual(["rm", file]);
  });

  it("a file with access rules", () => {
    const file = "/etc/postgresql/17/main/pg_hba.d/my own.conf";
    const rule = { file_name: file, line_number: 1, line: "a", error: null };
    const roles = [{ name: "postgres", superuser: true, inherit: true, connection_limit: -1, valid_until: null }];
    expect(run(comparePostgres(state, insideOf({ "postgres.roles": roles, "postgres.hba": [rule] })))).toEqual([
      "rm",
      file,
    ]);
  });
});

describe("accounts", () => {
  it("whose name is a pattern: root's line stays", () => {
    const users = [{ name: "r..t", uid: 0, shell: "/bin/sh", password: false, groups: [] }];
    const command = commandOf(compareAccounts(state, insideOf({ users, authorized_keys: keys })));
    const file = path.join(PROGRAMS, "passwd.txt");
    writeFileSync(file, "root:x:0:0\nr..t:x:0:0\n");
    execFileSync("/bin/sh", ["-c", command.replace("/etc/passwd /etc/shadow", file)]);
    expect(execFileSync("/bin/cat", [file], { encoding: "utf8" })).toBe("root:x:0:0\n");
  });

  it("whose name is a command", () => {
    const users = [{ name: "a;echo PWNED", uid: 1, shell: "/bin/false", password: true, groups: [] }];
    expect(run(compareAccounts(state, insideOf({ users, authorized_keys: keys })))).toEqual([
      "passwd",
      "--lock",
      "a;echo PWNED",
    ]);
  });

  it("another key does not pass for the deploy key by its comment", () => {
    const content = "ssh-ed25519 AAAADeploy\nssh-ed25519 AAAAMallory AAAADeploy\n";
    expect(compareAccounts(state, insideOf({ authorized_keys: [{ ...keys[0], content }] }))).toHaveLength(1);
  });

  it("a home with a blank", () => {
    const found = compareAccounts(
      state,
      insideOf({ authorized_keys: [...keys, { path: "/home/my app/.ssh/authorized_keys", content: "k" }] }),
    );
    expect(found[0]?.repair).toMatchObject({
      command: expect.stringMatching(/'\/home\/my app\/.ssh\/authorized_keys'$/) as unknown,
    });
  });
});

describe("PostgreSQL", () => {
  const postgres = { name: "postgres", superuser: true, inherit: true, connection_limit: -1, valid_until: null };
  const found = (facts: Record<string, string | object>) =>
    run(comparePostgres(state, insideOf({ "postgres.roles": [postgres], ...facts })));
  const psql = (...words: string[]) => ["runuser", "-u", "postgres", "--", "psql", ...words];

  it.each([
    ["it's", `DROP ROLE "it's"`],
    [`a"b`, `DROP ROLE "a""b"`],
    [`a"; DROP ROLE "convex`, `DROP ROLE "a""; DROP ROLE ""convex"`],
    ["a'; echo PWNED; '", `DROP ROLE "a'; echo PWNED; '"`],
  ])("role %s", (name, statement) => {
    expect(found({ "postgres.roles": [postgres, { name, superuser: false }] })).toEqual(psql("-c", statement));
  });

  it.each([
    [
      "slot",
      "replication slot a\t\tSELECT pg_drop_replication_slot('a')",
      psql("-c", "SELECT pg_drop_replication_slot('a')"),
    ],
    [
      "name with a quote",
      "prepared transaction it's\tapp\tROLLBACK PREPARED 'it''s'",
      psql("-d", "app", "-c", "ROLLBACK PREPARED 'it''s'"),
    ],
    [
      "name with a backslash",
      "prepared transaction a\\b\tapp\tROLLBACK PREPARED E'a\\\\b'",
      psql("-d", "app", "-c", "ROLLBACK PREPARED E'a\\\\b'"),
    ],
    [
      "identifier with a quote",
      `subscription it's\tapp\tDROP SUBSCRIPTION "it's"`,
      psql("-d", "app", "-c", `DROP SUBSCRIPTION "it's"`),
    ],
    [
      "database with a blank",
      "prepared transaction a\tmy app\tROLLBACK PREPARED 'a'",
      psql("-d", "my app", "-c", "ROLLBACK PREPARED 'a'"),
    ],
    [
      "database with a command",
      "prepared transaction a\ta;echo PWNED\tROLLBACK PREPARED 'a'",
      psql("-d", "a;echo PWNED", "-c", "ROLLBACK PREPARED 'a'"),
    ],
  ])("held: %s", (_, held, expected) => {
    const words = found({ "postgres.held": held }).map((word) => word.replaceAll("$$a$$", "'a'"));
    expect(words).toEqual(expected);
  });

  it("a member of a role with a quote", () => {
    const role = stateOf(...state.resources, { type: TYPES.role, name: RESOURCES.role, inputs: { name: "convex" } });
    const none = { superuser: false, createdb: false, createrole: false, replication: false, bypassrls: false };
    const convex = { ...postgres, ...none, name: "convex", login: true, scram: true, member_of: ["it's"] };
    expect(run(comparePostgres(role, insideOf({ "postgres.roles": [postgres, convex] })))).toEqual(
      psql("-c", `REVOKE "it's" FROM "convex"`),
    );
  });
});

it("a process whose name has a blank is named", () => {
  const listeners = 'LISTEN 0 128 0.0.0.0:80 0.0.0.0:* users:(("tmux: server",pid=1,fd=3))';
  const [finding] = compareListeners(state, insideOf({ listeners }));
  expect(finding?.message).toBe("tmux: server listens there, nothing declares it");
});

it("forwarding is seen off on an interface with a dot in its name", () => {
  const network = { name: "convex", ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }] };
  const facts = {
    routes: [{ dst: "default", gateway: "10.0.0.1", dev: "eth0.100" }],
    forwarding: "net.ipv4.conf.eth0/100.forwarding = 0",
  };
  const found = compareRoutes(
    stateOf({ type: TYPES.network, name: "convex-network", inputs: network }),
    insideOf(facts),
  );
  expect(found.map(({ path: where }) => where)).toEqual(["sysctl.net.ipv4.conf.eth0/100.forwarding"]);
});

it("control characters in what strangers wrote do not reach the terminal", () => {
  expect(printable("a\u001b]0;b\u0007\u001b[2K\u202e\u0085\n\tc")).toBe("a\uFFFD]0;b\uFFFD\uFFFD[2K\uFFFD\uFFFD\n\tc");
});

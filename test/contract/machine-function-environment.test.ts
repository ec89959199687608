import { readFile } from "node:fs/promises";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { namedValues } from "../../contract/scripts.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { Machine } from "./machine-harness.ts";
import { stepByStep } from "../steps.ts";

const SET = "functions/environment.sh";
const RECORD = "/srv/volume/function-environment";
const PEM = '-----BEGIN PRIVATE KEY-----\nMIIE "quoted" \\n $HOME `id`\n-----END PRIVATE KEY-----\n';

let lab: Lab;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab();
  machine = await Machine.create(lab, lab.spec(1));
  const stub = await readFile(new URL("machine-function-environment.py", import.meta.url), "utf8");
  await machine.sh(`mkdir /srv/volume; cat > /srv/backend.py << 'END'\n${stub}END\n`);
  await machine.sh(`echo '{"BY_HAND": "mine"}' > /srv/variables.json`);
  await machine.sh("systemd-run --quiet --unit backend python3 /srv/backend.py");
});

afterAll(() => lab[Symbol.asyncDispose]());

/** The script's values, as the program passes them. */
const request = (variables: Record<string, string>, { key = "convex-self-hosted|01ab", port = 3210 } = {}) =>
  namedValues({ port, mountpoint: "/srv/volume", key, variables: JSON.stringify(variables) });

const set = (variables: Record<string, string>) => machine.run(SET, request(variables));
const present = async () => JSON.parse(await machine.sh("cat /srv/variables.json")) as Record<string, string>;
const record = () => machine.sh(`cat ${RECORD} 2> /dev/null || true`);

// The tests use one deployment; each test continues where the one before ended.
describe("the environment of functions", () => {
  stepByStep();

  it("is set exactly, next to variables that were set by hand, and the second run changes nothing", async () => {
    const first = await set({ A: "1", EMPTY: "", PEM });
    expect(first.output).toMatch(/\nenvironment\.sh: set A\n.*set EMPTY\n.*set PEM\n.*done, \d changed$/);
    expect(first.exitCode).toBe(0);
    expect(await present()).toEqual({ BY_HAND: "mine", A: "1", EMPTY: "", PEM });
    expect(await set({ A: "1", EMPTY: "", PEM })).toEqual({
      exitCode: 0,
      output: "environment.sh: unchanged",
    });
    expect(await machine.sh(`stat -c '%a %U' ${RECORD}`)).toBe("600 root");
  });

  it("has changed values set again and undeclared ones removed, also after a change by hand", async () => {
    await machine.sh(`echo '{"BY_HAND": "mine", "A": "by hand", "PEM": "x"}' > /srv/variables.json`);
    const run = await set({ A: "1", B: "2" });
    expect(run.output.split("\n").filter((line) => /: (set|removed) /.test(line))).toEqual([
      "environment.sh: set A",
      "environment.sh: set B",
      "environment.sh: removed PEM",
    ]);
    expect(await present()).toEqual({ BY_HAND: "mine", A: "1", B: "2" });
    expect(await record()).toBe("A\nB");
  });

  it("is not changed if the backend refuses one variable, and the record stays the same", async () => {
    const run = await set({ C: "3", FORBIDDEN: "x" });
    expect(run.output).toMatch(
      /error: backend: refuses update_environment_variables \(400\), nothing was changed\. Its reason: FORBIDDEN is built-in$/,
    );
    expect(run.exitCode).toBe(1);
    expect(await present()).toEqual({ BY_HAND: "mine", A: "1", B: "2" });
  });

  it("keeps its record complete if a run is killed after its change", async () => {
    await machine.sh("touch /srv/silent");
    await machine.killWhen(`grep -q LATE /srv/variables.json`, SET, request({ A: "1", LATE: "x" }));
    await machine.sh("rm /srv/silent");
    expect((await set({ A: "1" })).exitCode).toBe(0);
    expect(await present()).toEqual({ BY_HAND: "mine", A: "1" });
    expect(await record()).toBe("A");
  });

  it("reports a refused key, and a backend that does not answer", async () => {
    const refused = await machine.run(SET, request({ A: "2" }, { key: "convex-self-hosted|02" }));
    expect(refused.output).toMatch(
      /error: backend: refuses list_environment_variables \(401\), nothing was changed\. Its reason: The provided admin key was invalid for this instance$/,
    );
    const silent = await machine.run(SET, request({ A: "2" }, { port: 3219 }));
    expect(silent.output).toMatch(/error: backend: does not answer on port 3219\. See: docker ps --all$/);
    expect([refused.exitCode, silent.exitCode]).toEqual([1, 1]);
    expect(await present()).toEqual({ BY_HAND: "mine", A: "1" });
  }, 120_000);

  it("is removed, except what was set by hand, and the second run changes nothing", async () => {
    const run = await set({});
    expect(run.output).toMatch(/removed A\n.*removed \/srv\/volume\/function-environment\n.*done, \d changed$/);
    expect(await present()).toEqual({ BY_HAND: "mine" });
    expect(await record()).toBe("");
    expect((await set({})).output).toBe("environment.sh: unchanged");
  });

  it("serves the query that proves a deploy; its error ends the run", async () => {
    const probe = (name: string, key = "convex-self-hosted|01ab") =>
      machine.run("functions/probe.sh", namedValues({ port: 3210, key, probe: name }));
    expect(await probe("")).toEqual({ exitCode: 0, output: "probe.sh: unchanged" });
    const ping = { exitCode: 0, output: "probe.sh: health:ping succeeds\nprobe.sh: unchanged" };
    expect([await probe("health:ping"), await probe("health:ping")]).toEqual([ping, ping]);
    await machine.sh("mkdir -p /etc/convex-droplet; echo STACK=dev > /etc/convex-droplet/volume.env");
    const broken = await probe("lib/health:ping");
    expect(broken.exitCode).toBe(1);
    expect(broken.output).toMatch(
      /^probe\.sh: error: functionProbe lib\/health:ping: fails, it should succeed without arguments\. .* npx pulumi up --stack dev\. Its error: \[Request ID: 1\] Server Error Uncaught Error: lib\/health:ping is broken$/,
    );
    const refused = await probe("health:ping", "convex-self-hosted|02");
    expect(refused.output).toMatch(/error: backend: refuses query \(401\), .* was invalid for this instance$/);
  });

  it("is on no command line, nor is the key, and neither is left in a file", async () => {
    expect(await machine.sh("grep -c 'curl --config' /srv/processes")).not.toBe("0");
    const leaks = "grep -F -e '|01ab' -e 'PRIVATE KEY' /srv/processes || true";
    expect(await machine.sh(leaks)).toBe("");
    expect(
      await machine.sh("grep -rlF '|01ab' /srv /tmp /run /var/tmp | grep -v -e backend.py -e processes || true"),
    ).toBe("");
  });
});

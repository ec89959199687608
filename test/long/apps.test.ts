import { once } from "node:events";
import https from "node:https";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { endedUp } from "../e2e/ended-up.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { useNames } from "../e2e/names.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { publishStandIn } from "./stand-in.ts";

const STACK = "apps";
const WEB = "https://app.convex.test";

let cloud: TestCloud;
let processes: ProcessWatch;
let images: Record<"one" | "two", string>;
/** In which programs find the stack's names. */
let names: Record<string, string>;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb" });
  images = { one: await publishApp("one"), two: await publishApp("two") };
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** Publishes the stand-in for an app; each revision has another digest. */
function publishApp(tag: string): Promise<string> {
  return publishStandIn(cloud.home, { folder: "app", args: { REVISION: tag } });
}

/** Sets options as a person does. */
async function set(options: Record<string, string>): Promise<void> {
  for (const [key, value] of Object.entries(options)) {
    const text = key.includes(".variables.") ? ["--type", "string"] : [];
    succeeded(await cloud.pulumi(["config", "set", "--stack", STACK, "--path", ...text, key, value]));
  }
}

async function remove(key: string): Promise<void> {
  succeeded(await cloud.pulumi(["config", "rm", "--stack", STACK, "--path", key]));
}

const droplet = async (command: string) => succeeded(await cloud.onDroplet(STACK, command)).trim();
const containers = () => droplet("docker ps --all --filter name=convex-app- --format '{{.Names}} {{.State}}' | sort");
const jobs = () => droplet("docker ps --all --filter name=convex-job- --format '{{.Names}}'");
/** A number for each time that the job has succeeded: 2 if it had an admin key. */
const migrations = () => droplet("cat /mnt/convex/apps/server/data/own/migrations");
/** A line for each run of the job after the server, with the containers that it has reached. */
const tried = () => droplet("cat /mnt/convex/apps/server/data/own/tried");
const tasks = () => droplet("docker ps --all --filter name=convex-task- --format '{{.Names}}'");
const idOf = (app: string) => droplet(`docker ps --quiet --no-trunc --filter name=convex-app-${app}-`);

/** What an app answers, on a connection of its own. */
function get(url: string): Promise<{ status: number; body: Record<string, string> }> {
  return new Promise((resolve, reject) => {
    https
      .get(url, { agent: false, signal: AbortSignal.timeout(20_000) }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("error", reject);
        response.on("end", () => {
          try {
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Record<string, string> });
          } catch {
            resolve({ status: response.statusCode ?? 0, body: { text } });
          }
        });
      })
      .on("error", reject);
  });
}

/** Asks an app again and again while something happens, some of it slowly; the answers that were not good. */
async function whileAsked(act: () => Promise<void>): Promise<{ asked: number; failed: string[] }> {
  const found = { asked: 0, failed: [] as string[], isOver: false };
  const ask = async (url: string) => {
    while (!found.isOver) {
      found.asked += 1;
      const said = await get(url).then(
        ({ status }) => (status === 200 ? "" : `${status}`),
        (error: unknown) => String(error),
      );
      if (said !== "") found.failed.push(said);
    }
  };
  const loops = [ask(WEB), ask(WEB), ask(`${WEB}/slow`), ask(`${WEB}/ask?of=SERVER`)];
  try {
    await act();
  } finally {
    found.isOver = true;
    await Promise.all(loops);
  }
  return found;
}

/** Findings of drift, except those that every stack without backups has. */
async function drifted(): Promise<string[]> {
  const { stdout, all } = await cloud.operate("drift", STACK, ["--format", "json", "--ignore", "backups"]);
  try {
    const { findings } = JSON.parse(stdout) as { findings: { path: string; severity: string }[] };
    return findings.filter(({ severity }) => severity !== "notice").map(({ path: found }) => found);
  } catch {
    throw new Error(all);
  }
}

describe("apps beside Convex", () => {
  stepByStep();

  it("come up in one run, with references, secrets, folders and names", async () => {
    await useDomain(cloud.home, STACK, "convex.test");
    names = await useNames(cloud);
    await set({
      "generatedSecrets.auth.bytes": "48",
      "apps.server.image": images.one,
      "apps.server.port": "8000",
      "apps.server.healthCommand": "curl -fs http://127.0.0.1:8000/health",
      "apps.server.variables.DATA": "/data",
      "apps.server.references.AUTH": "secret:auth",
      "apps.server.references.ORIGIN": "app:web.publicUrl",
      "apps.server.folders.data": "/data",
      "apps.server.folderOwner": "1001",
      "apps.server.cpus": "0.5",
      "apps.web.image": images.one,
      "apps.web.port": "3000",
      "apps.web.hosts[0]": "app.convex.test",
      "apps.web.healthPath": "/health",
      "apps.web.memoryMb": "200",
      "apps.web.variables.MODE": "first",
      "apps.web.references.AUTH": "secret:auth",
      "apps.web.references.SERVER": "app:server.url",
      "apps.web.references.CONVEX": "convex.url",
      "apps.web.references.INSIDE": "convex.internalUrl",
      "apps.web.references.SELF": "app:web.publicUrl",
      "apps.web.dependsOn[0]": "server",
    });
    await cloud.configureSecretly(STACK, "apps.web.variables.TOKEN", "s3cret-of-the-app");
    succeeded(await cloud.up(STACK));
    expect(await cloud.outputs(STACK)).toMatchObject({ appUrls: { web: WEB } });
    const { status, body } = await get(WEB);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      ...{ MODE: "first", TOKEN: "s3cret-of-the-app", SERVER: "http://server:8000" },
      ...{ CONVEX: "https://api.convex.test", SELF: WEB, INSIDE: "http://backend:3210" },
    });
    expect(Buffer.from(body["AUTH"] ?? "", "base64")).toHaveLength(48);
    const server = JSON.parse((await get(`${WEB}/ask?of=SERVER`)).body["text"] ?? "{}") as Record<string, string>;
    expect(server).toMatchObject({ AUTH: body["AUTH"], ORIGIN: WEB, starts: "x" });
    for (const name of ["CONVEX", "INSIDE", "SELF"]) {
      expect((await get(`${WEB}/ask?of=${name}`)).status, name).toBe(200);
    }
    expect(await containers()).toMatch(/^convex-app-server-[0-9a-f]{6} running\nconvex-app-web-[0-9a-f]{6} running$/);
  });

  it("have no changes in a second up, and nothing drifts", async () => {
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
    expect(succeeded(await cloud.operate("doctor", STACK, [], names))).toContain("apps: run, and answer");
  });

  it("run a command with their variables and folders, with its input, output and exit code, and leave no container", async () => {
    const task = (...words: string[]) => cloud.operate("task", STACK, ["server", "--", ...words]);
    const { body } = await get(WEB);
    const { exitCode, stdout } = await task(
      "sh",
      "-c",
      'echo "$AUTH $1"; cat /data/own/starts; echo no >&2; exit 7',
      "sh",
      "it's",
    );
    expect([exitCode, stdout]).toEqual([7, `${body["AUTH"] ?? ""} it's\nx`]);
    expect(succeeded(await cloud.operate("logs", STACK, ["server"]))).toContain("app listening on 8000");
    expect(await tasks()).toBe("");
  });

  it.each([
    ["Ctrl-C", (pid: number) => process.kill(-pid, "SIGINT")],
    ["the end of its connection", (pid: number) => execa("pkill", ["-KILL", "-x", "-P", String(pid), "ssh"])],
  ])("stop and remove a command after %s", async (_, end) => {
    const script = "trap 'echo ended > /data/own/task; exit' TERM; echo started; while true; do sleep 0.1; done";
    const words = ["task", "--stack", STACK, "server", "--", "sh", "-c", script];
    const command = execa("node", [path.resolve("operations/cli.ts"), ...words], {
      cwd: projectFolder(cloud.home),
      env: cloud.env,
      reject: false,
      // On a terminal, Ctrl-C reaches the whole group.
      detached: true,
    });
    await once(command.stdout, "data");
    expect(await tasks()).toMatch(/^convex-task-server-[0-9a-f]{6}$/);
    await end(command.pid ?? 0);
    await command;
    await eventually("the command's container to be gone", 30, async () => {
      expect(await tasks()).toBe("");
    });
    const noted = "/mnt/convex/apps/server/data/own/task";
    expect(await droplet(`cat ${noted} && rm ${noted}`)).toBe("ended");
  });

  it("wait for a job, which has an app's image and variables, and the admin key", async () => {
    await set({
      "jobs.migrate.app": "server",
      "jobs.migrate.command[0]": "node",
      "jobs.migrate.command[1]": "./migrate.ts",
      "jobs.migrate.references.KEY": "convex.adminKey",
      "jobs.migrate.before[0]": "web",
      "jobs.seed.image": images.one,
      "jobs.seed.command[0]": "true",
      "jobs.seed.dependsOn[0]": "migrate",
    });
    const web = await idOf("web");
    succeeded(await cloud.up(STACK));
    expect(await migrations()).toBe("2");
    expect(await idOf("web")).toBe(web);
    expect(await jobs()).toBe("");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
  });

  it("are asked what their probes say, and a job tries each new version of its app, and only that one", async () => {
    await set({
      "apps.web.probes.ping.path": "/ping?debug=1",
      "apps.web.probes.ping.json": '{"ok":true}',
      "apps.server.probes.steady.path": "/health",
      "apps.server.probes.steady.holdSeconds": "5",
      "jobs.smoke.app": "server",
      "jobs.smoke.command[0]": "node",
      "jobs.smoke.command[1]": "./smoke.ts",
      "jobs.smoke.references.URL": "app:server.url",
      "jobs.smoke.after[0]": "server",
    });
    const first = await idOf("server");
    succeeded(await cloud.up(STACK));
    expect(await droplet("grep -c 'GET /ping HTTP/2.0\" 200' /var/log/nginx/access.log")).toBe("1");
    expect(await tried()).toBe(first.slice(0, 12));
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
    await set({ "apps.server.healthCommand": "curl -fs http://127.0.0.1:8000/health > /dev/null" });
    succeeded(await cloud.up(STACK));
    const second = await idOf("server");
    expect(second).not.toBe(first);
    expect((await tried()).split("\n")).toEqual([first.slice(0, 12), second.slice(0, 12)]);
    expect(await migrations()).toBe("2");
  });

  it("end the run if a probe or a job after them fails, with the reason, and the next run tries again", async () => {
    await set({ "apps.web.variables.BAD": "yes", "apps.web.probes.ping.withinSeconds": "5" });
    for (const up of [await cloud.up(STACK), await cloud.up(STACK)]) {
      expect(up.exitCode).not.toBe(0);
      expect(up.all).toContain(
        'probes.sh: error: app web: probe ping: GET https://app.convex.test/ping?debug=1 got other JSON: "ok" differs, it should get status 200 with its JSON within 5 s.',
      );
    }
    expect((await get(`${WEB}/ping`)).body).toEqual({ ok: false });
    await remove("apps.web.variables.BAD");
    succeeded(await cloud.up(STACK));
    expect((await get(`${WEB}/ping`)).body).toEqual({ ok: true });
    await set({ "jobs.smoke.variables.FAIL": "on purpose" });
    const { exitCode, all } = await cloud.up(STACK);
    expect(exitCode).not.toBe(0);
    expect(all).toContain("the sign-up fails: on purpose");
    expect(all).toContain(
      "job.sh: error: job smoke: ended with exit code 3, it should be 0. The new versions that it runs after serve already: server.",
    );
    await remove("jobs.smoke.variables.FAIL");
    succeeded(await cloud.up(STACK));
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await containers()).toMatch(/^\S+ running\n\S+ running$/);
  });

  it("show none of their secrets anywhere", async () => {
    const { body } = await get(WEB);
    const secrets = Object.entries(await secretsOf(cloud, STACK)).filter(([name]) => !name.endsWith("-version.result"));
    const needles = { ...Object.fromEntries(secrets), variable: "s3cret-of-the-app", auth: body["AUTH"] ?? "" };
    expect(await leaksOf(cloud, STACK, processes, needles)).toEqual([]);
  });

  it("change without a failed request, and only the one that has changed", async () => {
    const before = await idOf("server");
    await set({ "apps.web.variables.MODE": "second" });
    const { asked, failed } = await whileAsked(async () => {
      succeeded(await cloud.up(STACK));
    });
    expect(failed).toEqual([]);
    expect(asked).toBeGreaterThan(50);
    expect((await get(WEB)).body).toMatchObject({ MODE: "second" });
    expect(await idOf("server")).toBe(before);
    expect(await containers()).toMatch(/^\S+ running\n\S+ running$/);
  });

  it("keep the version that serves if the next one is not healthy, with the reason, and take the fixed one", async () => {
    await set({ "apps.web.variables.BROKEN": "yes", "apps.web.healthSeconds": "10" });
    const { failed } = await whileAsked(async () => {
      const up = await cloud.up(STACK);
      expect(up.exitCode).not.toBe(0);
      expect(up.all).toContain(
        "ready.sh: error: app web: its new version is not ready after 10 s, it should be one that answers GET /health at port 3000 with 200 to 399.",
      );
      expect(up.all).toContain("app listening on 3000");
      // The same again: it is not taken for ready.
      expect((await cloud.up(STACK)).exitCode).not.toBe(0);
      await set({ "apps.web.variables.BROKEN": "ends" });
      expect((await cloud.up(STACK)).all).toMatch(
        /not ready after 10 s.* Its program has ended \d+ times and was started again\./,
      );
      await remove("apps.web.variables.BROKEN");
      await remove("apps.web.healthSeconds");
      succeeded(await cloud.up(STACK));
    });
    expect(failed).toEqual([]);
    expect(await containers()).toMatch(/^\S+ running\n\S+ running$/);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("stay as they are if their job fails, and the job does not run again once its inputs are as before", async () => {
    const web = await idOf("web");
    await set({ "jobs.migrate.variables.FAIL": "on purpose", "apps.web.variables.MODE": "third" });
    const up = await cloud.up(STACK);
    expect(up.exitCode).not.toBe(0);
    expect(up.all).toContain("cannot migrate: on purpose");
    expect(up.all).toContain("job.sh: error: job migrate: ended with exit code 3, it should be 0.");
    expect(await idOf("web")).toBe(web);
    expect((await get(WEB)).body).toMatchObject({ MODE: "second" });
    await remove("jobs.migrate.variables.FAIL");
    succeeded(await cloud.up(STACK));
    expect(await migrations()).toBe("2");
    expect((await get(WEB)).body).toMatchObject({ MODE: "third" });
    await set({ "apps.web.variables.MODE": "second" });
    succeeded(await cloud.up(STACK));
  });

  it("have their job run once, also if the run that has started it is killed", async () => {
    await set({ "jobs.migrate.variables.SLOW": "30" });
    await endedUp(cloud, STACK, "kill", "the job to run", async () => (await jobs()) === "convex-job-migrate");
    succeeded(await cloud.pulumi(["cancel", "--yes", "--stack", STACK]));
    succeeded(await cloud.up(STACK));
    expect(await migrations()).toBe("2 2");
    expect(await jobs()).toBe("");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("take another image, also if the run is killed in the middle, without a failed request", async () => {
    await set({ "apps.web.image": images.two });
    const { failed } = await whileAsked(async () => {
      await endedUp(cloud, STACK, "kill", "the new container to exist", async () => {
        return (await containers()).split("\n").length > 2;
      });
      succeeded(await cloud.pulumi(["cancel", "--yes", "--stack", STACK]));
      succeeded(await cloud.up(STACK));
    });
    expect(failed).toEqual([]);
    expect(await containers()).toMatch(/^\S+ running\n\S+ running$/);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
  });

  it("are seen by drift: a stopped one, a changed one, and one that nobody declared; its repair is typed as printed", async () => {
    await droplet("docker stop $(docker ps --quiet --filter name=convex-app-web-)");
    await droplet(`docker run --detach --network convex --name convex-app-web-abcdef ${images.two}`);
    const [server = ""] = (await containers()).split(" ");
    await droplet("chmod 755 /mnt/convex/apps/server/data");
    const found = await drifted();
    expect(found).toContain("containers.convex-app-web-abcdef");
    expect(found).toContain("folders[/mnt/convex/apps/server/data].mode");
    expect(found.find((name) => /^containers\.convex-app-web-[0-9a-f]{6}\.state$/.test(name))).toBeDefined();
    expect(found.some((name) => name.includes(server))).toBe(false);
    await droplet("docker rm --force convex-app-web-abcdef && chmod 700 /mnt/convex/apps/server/data");
    const { stdout } = await cloud.operate("drift", STACK, ["--ignore", "backups"]);
    succeeded(await cloud.typed(/^Repair with: (.*)$/m.exec(stdout)?.[1] ?? stdout));
    expect((await get(WEB)).status).toBe(200);
    expect(await drifted()).toEqual([]);
  });

  it("serve again after the droplet has booted", async () => {
    await cloud.switchDroplet("off");
    await cloud.switchDroplet("on");
    const deadline = Date.now() + 120_000;
    let status = 0;
    while (status !== 200 && Date.now() < deadline) {
      status = await get(WEB).then(
        (answer) => answer.status,
        () => 0,
      );
    }
    expect(status).toBe(200);
    // The other app is healthy some seconds later.
    await expect.poll(drifted, { timeout: 60_000 }).toEqual([]);
  });

  it("are on another droplet with their folders and secrets", async () => {
    const { body } = await get(WEB);
    succeeded(await cloud.up(STACK, "--replace", "**convex-droplet"));
    expect((await get(WEB)).body).toMatchObject({ AUTH: body["AUTH"], MODE: "second" });
    expect(await droplet("cat /mnt/convex/apps/server/data/own/starts")).toMatch(/^xx+$/);
    expect(await migrations()).toBe("2 2");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
  });

  it("are absent without a trace once they are removed, except their folders", async () => {
    await remove("jobs");
    await remove("apps");
    await remove("generatedSecrets");
    succeeded(await cloud.up(STACK));
    expect(await containers()).toBe("");
    expect(await droplet("docker images --format '{{.Repository}}'")).not.toMatch(/\/app$/m);
    expect(await droplet("ls /etc/nginx/convex-droplet")).toBe("proxy.conf\nsites.conf");
    expect(
      await droplet("openssl x509 -in /mnt/convex/certificates/live/convex/fullchain.pem -noout -ext subjectAltName"),
    ).not.toContain("app.convex.test");
    const { domain_records: records } = (await (
      await cloud.cloud("GET", "/v2/domains/convex.test/records")
    ).json()) as {
      domain_records: { name: string }[];
    };
    expect(records.map(({ name }) => name)).not.toContain("app");
    expect(await droplet("cat /mnt/convex/apps/server/data/own/starts")).toMatch(/^x+$/);
    expect((await cloud.outputs(STACK))["appUrls"]).toEqual({});
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await drifted()).toEqual([]);
  });
});

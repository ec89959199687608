import { once } from "node:events";
import { readFileSync } from "node:fs";
import https from "node:https";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { MOUNTPOINT } from "../../contract/names.ts";
import { namedValues, type Values } from "../../contract/scripts.ts";
import type { AcmeAccess } from "../../sandbox/droplet/hypervisor.ts";
import { endServers } from "../../sandbox/server-process.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { hostValues, Machine, SCRIPTS } from "./machine-harness.ts";
import { stepByStep } from "../steps.ts";

const AUTHORITY = "/usr/local/share/ca-certificates/convex-acme-1.crt";
const CERTIFICATES = `${MOUNTPOINT}/certificates`;
const LIVE = `${CERTIFICATES}/live/convex/fullchain.pem`;
const PASSWORD = "correct-horse-battery";

let lab: Lab;
let machine: Machine;
let acme: AcmeAccess;
let serial = 0;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 100 });
  machine = await boot(1, "11111111");
  await lead({ api: address(), site: address(), dash: address() });
  acme = await lab.room.serveAcme();
});
afterAll(() => lab[Symbol.asyncDispose]());

/** A droplet that is set up, with a server behind each port that shows what it was sent. */
async function boot(id: number, volume: string): Promise<Machine> {
  const booted = await Machine.create(lab, { ...lab.spec(id), volumeIds: [volume] });
  expect(await booted.run("host/host.sh", hostValues())).toMatchObject({ exitCode: 0 });
  await booted.sh(
    `cat > /root/echo.py <<'END'\n${ECHO}END\nfor port in 3210 3211 6791; do systemd-run -q python3 /root/echo.py $port; done`,
  );
  return booted;
}

/** Answers with the port, the request's line and its headers, and counts the bytes of its body. */
const ECHO = `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        left = int(self.headers.get("Content-Length", 0))
        size = left
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
        lines = [sys.argv[1], self.requestline, "bytes: %d" % size] + ["%s: %s" % item for item in self.headers.items()]
        body = "\\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Strict-Transport-Security", "max-age=63072000; includeSubDomains; preload")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
http.server.ThreadingHTTPServer((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`;

/** Answers with the status and the body in the file that has the path as its name. */
const ANSWERS = `
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        file = "/root/answers" + self.path.split("?")[0]
        status, body = open(file).read().split(" ", 1) if os.path.exists(file) else ("404", "")
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(body.encode())
http.server.ThreadingHTTPServer(("127.2.0.1", 8080), Handler).serve_forever()
`;

function address(): string {
  return machine.droplet.publicAddress;
}

/** Makes names in the domain convex.test lead to addresses. */
async function lead(names: Record<string, string>): Promise<void> {
  serial += 1;
  const lines = [
    "$ORIGIN convex.test.\n$TTL 1",
    `@ IN SOA ns1.convex.test. hostmaster.convex.test. ${serial} 10800 3600 604800 1`,
    "@ IN NS ns1.convex.test.",
    ...Object.entries(names).map(([name, target]) => `${name} IN A ${target}`),
  ];
  await lab.room.serveZones([{ name: "convex.test", serial, file: `${lines.join("\n")}\n` }]);
}

function values(overrides: Values = {}): string {
  return namedValues({
    ...{ mountpoint: MOUNTPOINT, address: address() },
    ...{ api_host: "api.convex.test", site_host: "site.convex.test", dashboard_host: "", app_hosts: [] },
    ...{ api_port: 3210, site_port: 3211, dashboard_port: 6791 },
    ...{ dashboard_access: "tunnel", dashboard_networks: [], dashboard_password: "", trusted_proxies: [] },
    ...{ acme_directory: acme.directory, acme_email: "", acme_authority: acme.authority.trim().split("\n") },
    ...{ acme_authority_file: AUTHORITY },
    ...overrides,
  });
}

const PROTECTED: Values = {
  dashboard_host: "dash.convex.test",
  dashboard_access: "password",
  dashboard_password: PASSWORD,
};

const WITH_APP: Values = { ...PROTECTED, app_hosts: ["app.convex.test"] };

function appValues(server: string): string {
  return namedValues({ mountpoint: MOUNTPOINT, folders: [], sites: [`app.convex.test ${server}:8080`], probes: [] });
}

/** Leads the app's name to an address. */
function apps(server: string) {
  return machine.run("apps/apps.sh", appValues(server));
}

/** Asks the app's probes. */
function probe(probes: string[], host = "app.convex.test") {
  return machine.run(
    "apps/probes.sh",
    namedValues({ app: "web", container: "convex-app-web-0a1b2c", host, port: 8080, probes }),
  );
}

/** What a script would change. */
function check(area: string, stdin: string): Promise<string> {
  const encoded = Buffer.from(stdin).toString("base64");
  return machine.sh(`base64 -d <<< '${encoded}' | CONVEX_DROPLET_CHECK=1 bash ${SCRIPTS}/${area}/${area}.sh`);
}

function edge(overrides: Values = {}) {
  return machine.run("edge/edge.sh", values(overrides));
}

/** An answer of nginx, asked on the droplet with curl's options: its headers, and its body. */
async function ask(url: string, options = ""): Promise<string> {
  const { host } = new URL(url);
  const resolve = ["80", "443"].map((port) => `--resolve ${host}:${port}:127.0.0.1`).join(" ");
  return (await machine.try(`curl -sS -i --max-time 20 ${resolve} ${options} '${url}'`)).output.replaceAll("\r", "");
}

/** A run that waits for the names only for a second. */
function briefly() {
  const stdin = Buffer.from(values()).toString("base64");
  return machine.try(`base64 -d <<< '${stdin}' | CONVEX_DROPLET_NAMES_SECONDS=1 bash ${SCRIPTS}/edge/edge.sh`);
}

const servedAt = (name: string) =>
  machine.sh(
    `openssl s_client -connect 127.0.0.1:443 -servername ${name} < /dev/null 2> /dev/null | openssl x509 -noout -fingerprint -sha256`,
  );

/** The number of certificates that the ACME server has issued since it started. */
const issued = () =>
  readFileSync(path.join(lab.home.root, "acme", "log"), "utf8").match(/Issued certificate serial/g)?.length ?? 0;

/** Ends the ACME server; the next `serveAcme` starts another. */
const endAcme = () => endServers("pebble", path.join(lab.home.root, "acme", "pebble.json"));

/** A server in the ACME server's place that answers everything with an error. */
async function failingAcme(status: number, problem: object): Promise<AsyncDisposable & { asked: () => number }> {
  const folder = path.join(lab.home.root, "acme");
  const [cert, key] = ["server.crt", "server.key"].map((file) => readFileSync(path.join(folder, file)));
  let asked = 0;
  const server = https.createServer({ cert, key }, (_, response) => {
    asked += 1;
    response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
  });
  const { hostname, port } = new URL(acme.directory);
  await once(server.listen(Number(port), hostname), "listening");
  return {
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// Each test continues where the one before ended.
describe("the public edge of a machine", () => {
  stepByStep();

  it("is nothing without names", async () => {
    const none = { api_host: "", site_host: "", address: "" };
    expect(await edge(none)).toEqual({ exitCode: 0, output: "edge.sh: unchanged" });
    expect(await machine.sh("command -v nginx certbot || echo none")).toBe("none");
  });

  it("waits for names that lead elsewhere, says which record is missing, and asks for no certificate", async () => {
    await lead({ api: "203.0.113.9", dash: address() });
    const run = await briefly();
    expect(run.exitCode).toBe(1);
    expect(run.output).toContain(`edge.sh: waiting for api.convex.test, site.convex.test to lead to ${address()}`);
    expect(run.output).toContain(
      `edge.sh: error: api.convex.test: has the address 203.0.113.9, it should have the record A ${address()} and no other.`,
    );
    expect(run.output).toContain(
      `edge.sh: error: site.convex.test: has no record, it should have the record A ${address()}`,
    );
    expect(issued()).toBe(0);
  });

  it("asks for no certificate if a name also leads elsewhere", async () => {
    await lead({ api: address(), "site IN A 203.0.113.9\nsite": address(), dash: address() });
    const run = await briefly();
    expect(run.output).toContain(`site.convex.test: has the address ${address()} and 203.0.113.9, it should have`);
    await lead({ "api IN AAAA 2001:db8::9\napi": address(), site: address(), dash: address() });
    expect((await briefly()).output).toContain(
      `api.convex.test: has the address ${address()} and 2001:db8::9, it should`,
    );
    expect(issued()).toBe(0);
  });

  it("is killed while it gets a certificate, and gets one for the same name in the next run", async () => {
    await lead({ api: address(), site: address(), dash: address() });
    await machine.killWhen(`test -e ${CERTIFICATES}/archive/convex/cert1.pem`, "edge/edge.sh", values());
    await machine.sh(`rm -f ${CERTIFICATES}/renewal/convex.conf`);
    const run = await edge();
    expect(run.output).toContain("edge.sh: got a certificate for api.convex.test, site.convex.test");
    expect(run.exitCode).toBe(0);
    expect(await machine.sh(`ls ${CERTIFICATES}/live`)).toBe("README\nconvex");
  });

  it("changes nothing in the second run, and finds nothing to change in check mode", async () => {
    const [before, snapshot] = [issued(), await machine.snapshot(["nginx", "certbot.timer"])];
    expect(await edge()).toEqual({ exitCode: 0, output: "edge.sh: unchanged" });
    expect(
      await machine.try(
        `base64 -d <<< '${Buffer.from(values()).toString("base64")}' | CONVEX_DROPLET_CHECK=1 bash /usr/local/lib/convex-droplet/edge/edge.sh`,
      ),
    ).toEqual({ exitCode: 0, output: "" });
    expect(await machine.snapshot(["nginx", "certbot.timer"])).toBe(snapshot);
    expect(issued()).toBe(before);
  });

  it("passes requests on with the client's address, whatever the client claims", async () => {
    const answer = await ask(
      "https://api.convex.test/api/query?x=1",
      "-H 'X-Forwarded-For: 198.51.100.66' -H 'X-Real-IP: 198.51.100.66'",
    );
    expect(answer).toMatch(/^HTTP\/2 200/);
    for (const line of [
      ...["3210", "GET /api/query?x=1 HTTP/1.1", "Host: api.convex.test", "X-Real-IP: 127.0.0.1"],
      ...["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https"],
    ]) {
      expect(answer.split("\n")).toContain(line);
    }
    expect(await ask("https://site.convex.test/")).toContain("\n3211\n");
  });

  it("asks browsers for HTTPS for its own names only, also if the backend asks for more", async () => {
    const headers = (await ask("https://api.convex.test/")).match(/^strict-transport-security: .*$/gim);
    expect(headers).toEqual(["strict-transport-security: max-age=31536000"]);
    expect(await ask("http://api.convex.test/a?b=c")).toMatch(
      /^HTTP\/1.1 308 [^]*\nLocation: https:\/\/api\.convex\.test\/a\?b=c\n/,
    );
  });

  it("closes what shows internals, and what is not its own", async () => {
    expect(await ask("https://api.convex.test/metrics")).toMatch(/^HTTP\/2 404/);
    expect(await ask("https://api.convex.test/echo", "-d x")).toMatch(/^HTTP\/2 404/);
    expect(await ask("https://site.convex.test/metrics")).toMatch(/^HTTP\/2 404/);
    expect(await ask("https://other.convex.test/")).toContain("tlsv1 unrecognized name");
    expect(await ask("http://other.convex.test/")).toContain("Empty reply from server");
    expect(await ask("https://dash.convex.test/")).toContain("tlsv1 unrecognized name");
  });

  it("streams an upload of 200 MB, without a copy on the root disk", async () => {
    await machine.sh("head -c 200000000 /dev/zero > /mnt/convex/upload; : > /root/largest");
    await machine.sh(
      "systemd-run -q bash -c 'while true; do find /var/lib/nginx -type f -size +64k -print >> /root/largest; sleep 0.05; done'",
    );
    const answer = await ask(
      "https://api.convex.test/api/storage/upload?token=s3cret",
      "--data-binary @/mnt/convex/upload",
    );
    expect(answer).toContain("\nbytes: 200000000\n");
    expect(await machine.sh("cat /root/largest; rm /mnt/convex/upload")).toBe("");
  });

  it("logs requests without their query strings", async () => {
    const log = await machine.sh("cat /var/log/nginx/access.log");
    expect(log).toMatch(/^127\.0\.0\.1 \[.*\] api\.convex\.test "POST \/api\/storage\/upload HTTP\/2\.0" 200 /m);
    expect(log).not.toContain("s3cret");
  });

  it("says that the backend restarts instead of showing an error of its own", async () => {
    await machine.sh("pkill -f 'echo.py 3210'");
    const answer = await ask("https://api.convex.test/version?token=s3cret");
    expect(await machine.sh("grep -r s3cret /var/log/nginx || true")).toBe("");
    expect(answer).toMatch(/^HTTP\/2 503 [^]*\nretry-after: 2\n/);
    expect(answer).toContain("The backend does not answer. It may be restarting.");
    await machine.sh("systemd-run -q python3 /root/echo.py 3210");
  });

  it("adds a dashboard with a password, in one certificate with the other names", async () => {
    const run = await edge(PROTECTED);
    expect(run.output).toContain("the current one has other names");
    expect(run.output).not.toContain(PASSWORD);
    expect(await edge(PROTECTED)).toMatchObject({ output: "edge.sh: unchanged" });
    expect(await machine.sh(`openssl x509 -in ${LIVE} -noout -ext subjectAltName | tail -n 1 | tr -d ' '`)).toBe(
      "DNS:api.convex.test,DNS:dash.convex.test,DNS:site.convex.test",
    );
    expect(await ask("https://dash.convex.test/t/deep/link")).toMatch(/^HTTP\/2 401 [^]*www-authenticate: Basic/);
    expect(await ask("https://dash.convex.test/", "-u convex:wrong")).toMatch(/^HTTP\/2 401/);
    const answer = await ask("https://dash.convex.test/t/deep/link", `-u convex:${PASSWORD}`);
    expect(answer).toContain("\n6791\nGET /t/deep/link HTTP/1.1\n");
    // The dashboard needs no password of nginx.
    expect(answer).not.toMatch(/^Authorization:/im);
    expect(
      await machine.sh("runuser -u nobody -- cat /etc/nginx/convex-droplet/dashboard.htpasswd 2>&1 || true"),
    ).toContain("Permission denied");
  });

  it("lets whoever guesses the password wait for each answer", async () => {
    const seconds = await machine.sh(
      "curl -s -o /dev/null -w '%{time_total}' --resolve dash.convex.test:443:127.0.0.1 -u convex:wrong https://dash.convex.test/",
    );
    expect(Number(seconds)).toBeGreaterThanOrEqual(2);
  });

  it("opens the dashboard to the allowed networks only", async () => {
    const listed = (network: string) => ({
      ...{ dashboard_host: "dash.convex.test", dashboard_access: "allowlist", dashboard_networks: [network] },
    });
    expect((await edge(listed("198.51.100.0/24"))).exitCode).toBe(0);
    expect(await machine.sh("ls /etc/nginx/convex-droplet")).toBe("proxy.conf\nsites.conf");
    expect(await ask("https://dash.convex.test/")).toMatch(/^HTTP\/2 403/);
    expect((await edge(listed("127.0.0.0/8"))).exitCode).toBe(0);
    expect(await ask("https://dash.convex.test/")).toContain("\n6791\n");
  });

  it("believes the client's address of a trusted proxy", async () => {
    expect((await edge({ ...PROTECTED, trusted_proxies: ["127.0.0.0/8"] })).exitCode).toBe(0);
    expect(await ask("https://api.convex.test/", "-H 'X-Forwarded-For: 198.51.100.66'")).toContain(
      "\nX-Real-IP: 198.51.100.66\n",
    );
  });

  it("leads the name of an app to its container, in one certificate with the other names", async () => {
    await lead({ api: address(), site: address(), dash: address(), app: address() });
    const run = await edge(WITH_APP);
    expect(run.exitCode, run.output).toBe(0);
    // Nothing is served there until the app is ready.
    expect(await ask("https://app.convex.test/")).toContain("tlsv1 unrecognized name");
    await machine.sh("systemd-run -q --unit=app-one python3 /root/echo.py 8080 127.1.0.1");
    expect(await apps("127.1.0.1")).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining("apps.sh: wrote") as string,
    });
    expect(await apps("127.1.0.1")).toEqual({ exitCode: 0, output: "apps.sh: unchanged" });
    expect(await edge(WITH_APP)).toEqual({ exitCode: 0, output: "edge.sh: unchanged" });
    expect(await ask("https://app.convex.test/x?y=1")).toContain("\n8080\nGET /x?y=1 HTTP/1.1\n");
    expect(await ask("http://app.convex.test/")).toMatch(/^HTTP\/1.1 308/);
    expect(await check("apps", appValues("127.1.0.1"))).toBe("");
    expect(await check("edge", values(WITH_APP))).toBe("");
  });

  it("leads to another version of the app without losing a request", async () => {
    await machine.sh("systemd-run -q --unit=app-two python3 /root/echo.py 8080 127.2.0.1");
    await machine.sh(
      "cat > /root/ask.sh <<'END'\nwhile [ ! -e /root/enough ]; do curl -s -o /dev/null -w '%{http_code}\\n' --max-time 10 --resolve app.convex.test:443:127.0.0.1 https://app.convex.test/; done\nEND\n" +
        "for each in 1 2 3 4; do systemd-run -q bash -c 'bash /root/ask.sh >> /root/statuses'; done",
    );
    expect((await apps("127.2.0.1")).exitCode).toBe(0);
    // As the engine does it then.
    await machine.sh("systemctl stop app-one; wc -l < /root/statuses > /root/asked");
    const asked = Number(await machine.sh("cat /root/asked"));
    await vi.waitFor(async () => {
      expect(Number(await machine.sh("wc -l < /root/statuses"))).toBeGreaterThan(asked + 20);
    }, 30_000);
    await machine.sh("touch /root/enough");
    expect(await machine.sh("sort -u /root/statuses")).toBe("200");
    expect(await ask("https://app.convex.test/")).toContain("\n8080\n");
  });

  it("gives the folders of an app to its user, repairs them, and leaves what is in them", async () => {
    const folder = `${MOUNTPOINT}/apps/web/data`;
    const stdin = namedValues({ mountpoint: MOUNTPOINT, folders: [`1001:1002 ${folder}`] });
    const prepare = () => machine.run("apps/prepare.sh", stdin);
    expect((await prepare()).output).toContain(`prepare.sh: made folder ${folder}`);
    expect(await prepare()).toEqual({ exitCode: 0, output: "prepare.sh: unchanged" });
    expect(await machine.sh(`stat --format '%a %u:%g' ${MOUNTPOINT}/apps ${folder}`)).toBe("711 0:0\n700 1001:1002");
    await machine.sh(`touch ${folder}/kept && chmod 755 ${folder} && chown 0 ${folder}`);
    const folders = appValues("127.2.0.1").replace("folders=\n", `folders=1001:1002 ${folder}\n`);
    expect((await check("apps", folders)).split("\0")).toEqual(
      expect.arrayContaining(["apps.sh", "apps", `folders[${folder}]`, "owner", "1001:1002", "0:1002"]),
    );
    expect((await prepare()).exitCode).toBe(0);
    expect(await machine.sh(`stat --format '%a %u:%g' ${folder} && ls ${folder}`)).toBe("700 1001:1002\nkept");
    expect(await check("apps", folders)).toBe("");
  });

  it("makes no folder of an app while the volume is not mounted", async () => {
    const stdin = namedValues({ mountpoint: "/mnt/other", folders: ["0:0 /mnt/other/apps/web/data"] });
    expect(await machine.run("apps/prepare.sh", stdin)).toEqual({
      exitCode: 1,
      output:
        "prepare.sh: error: /mnt/other: is not mounted, it should be the data volume. Run npx pulumi up --stack dev again",
    });
    expect(await machine.sh("ls /mnt")).toBe("convex");
  });

  it("asks an app's probes side by side through nginx, and waits for their answers", async () => {
    await machine.sh(
      `cat > /root/answers.py <<'END'\n${ANSWERS}END\nmkdir /root/answers; systemctl stop app-two; ` +
        "systemd-run -q --unit=app-two python3 /root/answers.py; " +
        // Instead of a container.
        "printf '#!/bin/sh\\ncat /root/state\\n' > /usr/local/bin/docker; chmod +x /usr/local/bin/docker; " +
        `echo 127.2.0.1 started true > /root/state; cd /root/answers; echo '200 {"of": [1, {"b": 2, "a": null}], "ok": true}' > ping; ` +
        "echo '500 s3cret' > broken",
    );
    const probes = [
      ...['ping 200 10 2 /ping?debug=1 {"ok":true,"of":[1.0,{"a":null,"b":2}]}', "broken 500 10 0 /broken "],
      ...["none 404 10 0 /none ", "late 200 20 0 /late "],
    ];
    await machine.sh("systemd-run -q sh -c 'sleep 4; echo 200 x > /root/answers/late'");
    const run = await probe(probes);
    expect(run.output).toContain("probes.sh: app web: probe ping got its answer, which has to hold for 2 s");
    expect(run).toMatchObject({
      exitCode: 0,
      output: expect.stringMatching(/\nprobes.sh: app web: its probes succeeded$/) as string,
    });
    expect(await machine.sh("tail -n 20 /var/log/nginx/access.log")).toContain(
      'app.convex.test "GET /ping HTTP/2.0" 200',
    );
    // Without nginx, if the app has no public name.
    expect(await probe(['ping 200 1 0 /ping {"ok":true,"of":[1,{"a":null,"b":2}]}'], "")).toEqual({
      exitCode: 0,
      output: "probes.sh: app web: its probes succeeded",
    });
  });

  it("names each probe of an app that fails, with the parts of its JSON that differ, but not their values", async () => {
    await machine.sh(
      `cd /root/answers; echo '200 {"ok": "s3cret", "more": "s3cret"}' > map; echo '200 [1, "s3cret"]' > list; ` +
        `echo '200 "s3cret"' > text; echo '200 <s3cret>' > page; echo '200 1 2' > two; echo '200 ' > empty`,
    );
    const failing: [string, string, string][] = [
      ["broken", "", "got status 500, it should get status 200 within 1 s"],
      ["gone", "", "got status 404, it should get status 200 within 1 s"],
      [
        "map",
        '{"ok":true,"of":1}',
        'got other JSON: "more" is not expected, "of" is missing, "ok" differs, it should get status 200 with its JSON within 1 s',
      ],
      ["list", "[1,2,3]", "got other JSON: 1 differs, 2 is missing, it should"],
      ["text", '"ready"', "got other JSON: it is another string, it should"],
      ["ping", "[]", "got other JSON: it is of type object, not array, it should"],
      ["page", "{}", "got other JSON: it is not JSON, it should"],
      ["two", "1", "got other JSON: it is not one value, it should"],
      ["empty", "null", "got other JSON: it is not one value, it should"],
    ];
    const run = await probe(failing.map(([name, json]) => `${name} 200 1 0 /${name}?a=b ${json}`));
    expect(run.exitCode).toBe(1);
    for (const [name, , found] of failing) {
      expect(run.output).toContain(
        `probes.sh: error: app web: probe ${name}: GET https://app.convex.test/${name}?a=b ${found}`,
      );
    }
    expect(run.output).toContain(
      "within 1 s. Requests are led to this version already, see its log with: npm run logs -- --stack dev web. " +
        "Fix the app, or the probe, or give it more time with npx pulumi config set --stack dev --path apps.web.probes.gone.withinSeconds 2; " +
        "then run npx pulumi up --stack dev again",
    );
    expect(run.output).not.toContain("s3cret");
    expect(run.output).not.toContain("succeeded");
    await machine.sh(": > /root/state");
    expect((await probe(["ping 200 1 0 /ping "], "")).output).toContain(
      "GET http://web:8080/ping got no answer, because its container does not run, it should",
    );
    await machine.sh("echo 127.2.0.9 > /root/state");
    expect((await probe(["ping 200 1 0 /ping "], "")).output).toMatch(
      /GET http:\/\/web:8080\/ping got no answer \(Failed to connect to web port 8080 .*\), it should/,
    );
  });

  it.each([
    [
      "answers otherwise",
      "echo '503 x' > /root/answers/ping",
      /got status 503, it should get status 200 for 600 s, but did so for \d+ s\. /,
    ],
    [
      "has restarted",
      "echo 127.2.0.1 again true > /root/state",
      /got an answer from a container that has restarted, it should be the same one for 600 s, but was so for \d+ s\. /,
    ],
  ])("fails as soon as an app that has to hold an answer %s, also with other probes", async (_, change, message) => {
    await machine.sh(
      "cd /root/answers; echo '200 x' > ping; echo '200 x' > other; echo 127.2.0.1 started true > /root/state",
    );
    await machine.sh(`systemd-run -q sh -c ${JSON.stringify(`sleep 4; ${change}`)}`);
    const run = await probe(["ping 200 10 600 /ping ", "other 200 10 600 /other "]);
    expect(run.exitCode).toBe(1);
    expect(run.output).toMatch(message);
  });

  it("says that the app does not answer, and does not name the backend", async () => {
    await machine.sh("rm /usr/local/bin/docker");
    await machine.sh("systemctl stop app-two");
    expect(await ask("https://app.convex.test/")).toMatch(
      /^HTTP\/2 503 [^]*The app does not answer\. It may be restarting\./,
    );
  });

  it("repairs a lost certificate also with an app's names, which nginx cannot read without it", async () => {
    await machine.sh(`rm -r ${CERTIFICATES}/live/convex; systemctl stop nginx`);
    const run = await edge(WITH_APP);
    expect(run.exitCode, run.output).toBe(0);
    expect(await ask("https://app.convex.test/")).toMatch(/^HTTP\/2 503/);
  });

  it("serves a name of an app that becomes the backend's", async () => {
    expect((await edge({ ...WITH_APP, api_host: "app.convex.test", app_hosts: ["api.convex.test"] })).exitCode).toBe(0);
    expect(await ask("https://app.convex.test/")).toContain("\n3210\n");
  });

  it("forgets the names of apps with the last one", async () => {
    const run = await edge(PROTECTED);
    expect(run.output).toContain("edge.sh: removed /etc/nginx/convex-droplet/apps.conf");
    expect(await ask("https://app.convex.test/")).toContain("tlsv1 unrecognized name");
    expect(await edge(PROTECTED)).toEqual({ exitCode: 0, output: "edge.sh: unchanged" });
  });

  it("gets another certificate if it is lost, also if nginx does not start without it", async () => {
    await machine.sh(`rm -r ${CERTIFICATES}/live/convex; systemctl stop nginx`);
    const run = await edge(PROTECTED);
    expect(run.exitCode, run.output).toBe(0);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
  });

  it("repairs a file that nginx refuses, while it serves what it has read", async () => {
    await machine.sh("echo nonsense >> /etc/nginx/convex-droplet/sites.conf");
    const run = await edge(PROTECTED);
    expect(run.exitCode, run.output).toBe(0);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
  });

  it("serves a renewed certificate without a run", async () => {
    expect((await edge()).exitCode).toBe(0);
    const before = await servedAt("api.convex.test");
    await machine.sh("certbot renew --quiet --force-renewal --no-random-sleep-on-renew");
    expect(await servedAt("api.convex.test")).not.toBe(before);
    expect(await edge()).toMatchObject({ output: "edge.sh: unchanged" });
  });

  it("serves the certificate on the volume, also if a run was killed before nginx had read it", async () => {
    await machine.sh("certbot renew -q --force-renewal --no-random-sleep-on-renew --deploy-hook true");
    const run = await edge();
    expect(run.output).toContain("edge.sh: made nginx read the certificate again");
    expect(await servedAt("api.convex.test")).toBe(
      await machine.sh(`openssl x509 -in ${LIVE} -noout -fingerprint -sha256`),
    );
  });

  it.each([
    [
      "too many requests",
      429,
      { type: "urn:ietf:params:acme:error:rateLimited", detail: "too many" },
      "the ACME server's rate limit is reached",
    ],
    [
      "an error of its own",
      500,
      { type: "urn:ietf:params:acme:error:serverInternal", detail: "sorry" },
      "the ACME server has an error of its own",
    ],
  ])("keeps what it serves if the ACME server answers with %s", async (_, status, problem, cause) => {
    await endAcme();
    await using failing = await failingAcme(status, problem);
    const before = await servedAt("api.convex.test");
    const run = await edge(PROTECTED);
    expect(run.exitCode).toBe(1);
    expect(run.output).toContain(`cause: ${cause}`);
    expect(failing.asked()).toBeGreaterThan(0);
    expect(run.output).toContain("What was served before is still served");
    expect(await servedAt("api.convex.test")).toBe(before);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
  });

  it("keeps what it serves if there is no ACME server, also in a move to another domain", async () => {
    const run = await edge({ api_host: "dash.convex.test" });
    expect(run.exitCode).toBe(1);
    expect(run.output).toContain(`cause: the ACME server at ${acme.directory} does not answer`);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
  });

  it("needs no ACME server as long as the certificate is valid", async () => {
    expect(await edge()).toMatchObject({ output: "edge.sh: unchanged" });
  });

  it("replaces an expired certificate, from an ACME server that has lost its accounts", async () => {
    acme = await lab.room.serveAcme();
    await machine.sh(
      `cd /root && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout old.key -subj /CN=old ` +
        `-addext subjectAltName=DNS:api.convex.test,DNS:site.convex.test -not_before 20260101000000Z -not_after 20260401000000Z -out old.pem && ` +
        `cat old.pem > ${LIVE} && cat old.key > ${path.dirname(LIVE)}/privkey.pem && systemctl reload nginx`,
    );
    const run = await edge();
    expect(run.output).toContain("the current one expired on 2026-04-01");
    expect(run.exitCode, run.output).toBe(0);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
  });

  it("serves at once on another machine with the same volume, and asks for no certificate", async () => {
    const before = issued();
    await lab.room.detachVolume("11111111");
    await lab.room.destroyDroplet(machine.droplet.id);
    machine = await boot(2, "11111111");
    await lead({ api: address(), site: address() });
    const run = await edge();
    expect(run.exitCode, run.output).toBe(0);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
    expect(issued()).toBe(before);
  });

  it("serves nothing any more without names, and the same certificate when they come back", async () => {
    const before = issued();
    expect((await edge({ api_host: "", site_host: "" })).output).toContain("edge.sh: removed nginx and certbot");
    expect(await machine.sh("ss -Hltn 'sport = :443 or sport = :80'; ls /etc/nginx 2>&1 || true")).toContain(
      "No such file",
    );
    expect(await edge({ api_host: "", site_host: "" })).toMatchObject({ output: "edge.sh: unchanged" });
    expect((await edge()).exitCode).toBe(0);
    expect(await ask("https://api.convex.test/")).toMatch(/^HTTP\/2 200/);
    expect(issued()).toBe(before);
  });
});

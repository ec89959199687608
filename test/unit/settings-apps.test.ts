import { beforeEach, describe, expect, it } from "vitest";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

const IMAGE = `ghcr.io/me/web@sha256:${"a".repeat(64)}`;
const DOMAIN = { domain: "example.com" };

beforeEach(async () => {
  await mockEngine();
});

function settingsOf(overrides: Record<string, unknown>) {
  configure(overrides);
  return loadSettings().apps;
}

/** The mistakes of one app, whose image is right. */
function mistakesOfApp(options: Record<string, unknown>, others: Record<string, unknown> = {}): string[] {
  return mistakesOf({ ...DOMAIN, apps: { web: { image: IMAGE, ...options } }, ...others });
}

const path = (option: string) => `convex-droplet:apps.web.${option}`;

describe("apps", () => {
  it("are none by default", () => {
    expect(settingsOf({})).toEqual({ apps: [], jobs: [], generatedSecrets: [], registries: [] });
  });

  it("need only an image, and have defaults for the rest", () => {
    expect(settingsOf({ apps: { web: { image: IMAGE } } }).apps).toEqual([
      {
        ...{ name: "web", image: IMAGE, command: [], variables: {}, references: {}, port: undefined, hosts: [] },
        ...{ healthPath: undefined, healthCommand: undefined, healthSeconds: 60, stopFirst: false },
        ...{ memoryMb: 512, cpus: undefined },
        ...{ folders: {}, folderOwner: "0:0", dependsOn: [], probes: [] },
      },
    ]);
  });

  it("are read as pulumi config set --path writes them, where numbers are numbers", () => {
    const { apps } = settingsOf({
      ...DOMAIN,
      generatedSecrets: { auth: { bytes: 48, encoding: "base64url" }, plain: null },
      apps: {
        web: {
          ...{ image: IMAGE, port: 3000, memoryMb: 256, cpus: 0.5, hosts: ["app.example.com"], healthPath: "/health" },
          ...{
            variables: { MODE: "fast" },
            references: { KEY: "secret:auth", API: "app:api.url", ORIGIN: "app:web.publicUrl" },
          },
          ...{ folders: { data: "/data" }, folderOwner: 1000, command: ["serve", 1] },
        },
        api: { image: IMAGE, port: "8000", references: { WEB: "app:web.publicUrl", CONVEX: "convex.siteUrl" } },
      },
    });
    expect(apps.find(({ name }) => name === "web")).toMatchObject({
      ...{ port: 3000, memoryMb: 256, cpus: "0.5", folderOwner: "1000:1000", command: ["serve", "1"] },
      references: {
        KEY: { of: "secret", name: "auth" },
        API: { of: "app", name: "api", what: "url" },
        ORIGIN: { of: "app", name: "web", what: "publicUrl" },
      },
    });
  });

  it("have probes that need only a path, whose JSON can also be a text, as pulumi config set writes it", () => {
    const probes = {
      ping: { path: "/ping", status: "404", json: { ok: true, of: [1, null] }, withinSeconds: 900, holdSeconds: 3600 },
      home: { path: "/" },
      text: { path: "/a?b=c", json: ' {"ok": [ ]}' },
      word: { path: "/word", json: "ready" },
      no: { path: "/no", json: false },
    };
    expect(settingsOf({ apps: { web: { image: IMAGE, port: 1, probes } } }).apps[0]?.probes).toEqual([
      { name: "home", path: "/", status: 200, json: undefined, withinSeconds: 60, holdSeconds: 0 },
      { name: "no", path: "/no", status: 200, json: "false", withinSeconds: 60, holdSeconds: 0 },
      {
        name: "ping",
        path: "/ping",
        status: 404,
        json: '{"ok":true,"of":[1,null]}',
        withinSeconds: 900,
        holdSeconds: 3600,
      },
      { name: "text", path: "/a?b=c", status: 200, json: '{"ok":[]}', withinSeconds: 60, holdSeconds: 0 },
      { name: "word", path: "/word", status: 200, json: '"ready"', withinSeconds: 60, holdSeconds: 0 },
    ]);
  });

  it("start after those that they depend on, otherwise by name", () => {
    const app = (...dependsOn: string[]) => ({ image: IMAGE, dependsOn });
    const { apps } = settingsOf({ apps: { a: app("c"), b: app(), c: app("d"), d: app() } });
    expect(apps.map(({ name }) => name)).toEqual(["d", "c", "a", "b"]);
  });

  it("have all variables that they need, whichever way they get them, or are asked for all at once", () => {
    const needs = { A: "first", B: "second", C: "third" };
    const web = { image: IMAGE, port: 1, needs, variables: { A: "x" }, references: { B: "app:web.url" } };
    expect(mistakesOf({ apps: { web: { ...web, variables: { ...web.variables, C: "y" } } } })).toEqual([]);
    const others = { api: { image: IMAGE, needs: { D: "fourth" } } };
    expect(mistakesOf({ apps: { web, ...others } })).toEqual([
      expect.stringMatching(/^convex-droplet:apps\.api\.variables\.D: is missing, it should be there: fourth\./),
      expect.stringMatching(/^convex-droplet:apps\.web\.variables\.C: is missing, it should be there: third\./),
    ]);
  });

  it("may refer to each other, because an address does not need the app to run", () => {
    expect(
      mistakesOf({
        apps: {
          a: { image: IMAGE, port: 1, references: { B: "app:b.url" } },
          b: { image: IMAGE, port: 1, references: { A: "app:a.url" } },
        },
      }),
    ).toEqual([]);
  });
});

it.each<[string, Record<string, unknown>, RegExp]>([
  [
    "apps that are no map",
    { apps: ["web"] },
    /^convex-droplet:apps: is not a map, it should map names of apps to their options\. Remove it with: npx pulumi config rm --stack test apps, and set each option with: npx pulumi config set --stack test --path apps\.NAME\.image IMAGE$/,
  ],
  [
    "an app that is no map",
    { apps: { web: IMAGE } },
    /^convex-droplet:apps\.web: is not a map, it should map the options of an app to their values\./,
  ],
  [
    "a name with capitals",
    { apps: { Web: { image: IMAGE } } },
    /^convex-droplet:apps\.Web: is not a name for an app, .* Rename it\.$/,
  ],
  [
    "a name that the network has",
    { apps: { backend: { image: IMAGE } } },
    /^convex-droplet:apps\.backend: is a name that the containers' network has already, it should be another\./,
  ],
  [
    "a name of Convex's own container",
    { apps: { "convex-backend": { image: IMAGE } } },
    /^convex-droplet:apps\.convex-backend: is a name that the containers' network has already, it should be another\./,
  ],
  [
    "an app without an image",
    { apps: { web: { port: 3000 } } },
    /^convex-droplet:apps\.web\.image: is missing, it should be the app's image\. Set it with: npx pulumi config set --stack test --path apps\.web\.image REPOSITORY@sha256:DIGEST/,
  ],
  [
    "two apps on one host",
    {
      ...DOMAIN,
      apps: {
        a: { image: IMAGE, port: 1, hosts: ["x.example.com"] },
        b: { image: IMAGE, port: 1, hosts: ["x.example.com"] },
      },
    },
    /^convex-droplet:apps\.b\.hosts\[0\]: "x\.example\.com" is also apps\.a\.hosts\[0\], it should be another name\./,
  ],
  [
    "a public app without a domain",
    { apps: { web: { image: IMAGE, port: 1, hosts: ["x.example.com"] } } },
    /^convex-droplet:apps\.web\.hosts\[0\]: "x\.example\.com" has no effect without a domain, it should come with one\. Set the domain with: npx pulumi config set --stack test domain example\.com, or remove this with: npx pulumi config rm --stack test --path 'apps\.web\.hosts\[0\]'$/,
  ],
  [
    "apps that wait for each other",
    { apps: { a: { image: IMAGE, dependsOn: ["b"] }, b: { image: IMAGE, dependsOn: ["a"] } } },
    /^convex-droplet:apps\.b\.dependsOn\[0\]: "a" closes a circle \(a → b → a\), none of them could start first/,
  ],
  [
    "a generated secret that is no map",
    { generatedSecrets: { auth: 32 } },
    /^convex-droplet:generatedSecrets\.auth: is not a map/,
  ],
  ["secrets that are no map", { generatedSecrets: "auth" }, /^convex-droplet:generatedSecrets: is not a map/],
  [
    "a secret with a bad name",
    { generatedSecrets: { "a b": {} } },
    /^convex-droplet:generatedSecrets\.a b: is not a name for a secret/,
  ],
  [
    "a short secret",
    { generatedSecrets: { auth: { bytes: 8 } } },
    /^convex-droplet:generatedSecrets\.auth\.bytes: 8 is below 16, it should be from 16 to 1024\. Set it with: npx pulumi config set --stack test --path generatedSecrets\.auth\.bytes 16$/,
  ],
  [
    "a secret in another encoding",
    { generatedSecrets: { auth: { encoding: "base58" } } },
    /^convex-droplet:generatedSecrets\.auth\.encoding: "base58" is not valid, it should be base64, base64url or hex\./,
  ],
  [
    "a misspelt option of a secret",
    { generatedSecrets: { auth: { byte: 32 } } },
    /^convex-droplet:generatedSecrets\.auth\.byte: is not an option of a generated secret, it should be one; the nearest is bytes\./,
  ],
  [
    "a registry without a password",
    { registries: { "ghcr.io": { username: "me" } } },
    /^convex-droplet:registries\["ghcr\.io"\]\.password: is missing, it should be what docker login asks for\. Set it with: npx pulumi config set --stack test --path --secret 'registries\["ghcr\.io"\]\.password'$/,
  ],
  [
    "a registry with an empty user name",
    { registries: { "ghcr.io": { username: "", password: "pw" } } },
    /^convex-droplet:registries\["ghcr\.io"\]\.username: is empty, it should be what docker login asks for\. Set it with: npx pulumi config set --stack test --path 'registries\["ghcr\.io"\]\.username' NAME$/,
  ],
  [
    "a registry in capitals, which no image names",
    { registries: { "GHCR.io": { username: "me", password: "pw" } } },
    /^convex-droplet:registries\["GHCR\.io"\]: is not the address of a registry, it should be a name such as ghcr\.io\./,
  ],
  [
    "a registry with a path",
    { registries: { "https://ghcr.io/me": { username: "me", password: "pw" } } },
    /: is not the address of a registry, it should be a name such as ghcr\.io\./,
  ],
])("%s: refused", (_, configuration, message) => {
  expect(mistakesOf(configuration)).toEqual([expect.stringMatching(message)]);
});

it.each<[string, Record<string, unknown>, string, string]>([
  [
    "a misspelt option",
    { prot: 3000 },
    "prot",
    "is not an option of an app, it should be one; the nearest is port. Rename it, or remove it with: npx pulumi config rm --stack test --path apps.web.prot",
  ],
  [
    "a tag",
    { image: "ghcr.io/me/web:latest" },
    "image",
    '"ghcr.io/me/web:latest" may be another image tomorrow, it should be pinned',
  ],
  [
    "a password in the image",
    { image: `me:pw@ghcr.io/web@sha256:${"a".repeat(64)}` },
    "image",
    "has credentials in it, it should name only the image",
  ],
  [
    "a number as a variable",
    { variables: { PORT: 3000 } },
    "variables.PORT",
    "is not text, it should be: YAML has read it as a number",
  ],
  [
    "a variable that the app needs",
    { needs: { KEY: "it signs sessions." } },
    "variables.KEY",
    "is missing, it should be there: it signs sessions. Set it with: npx pulumi config set --stack test --path --secret apps.web.variables.KEY, or refer to a value of the stack with: npx pulumi config set --stack test --path apps.web.references.KEY REFERENCE",
  ],
  ["a need without a reason", { needs: { KEY: true } }, "needs.KEY", "is not a reason, it should be a text"],
  ["a need without a valid name", { needs: { "A-B": "why" } }, "needs.A-B", "is not a variable's name."],
  ["an empty variable", { variables: { KEY: "" } }, "variables.KEY", "is empty, it should have a value or be absent."],
  ["a variable without a valid name", { variables: { "A-B": "x" } }, "variables.A-B", "is not a variable's name."],
  ["variables as a list", { variables: ["A=b"] }, "variables", "is not a map, it should map variable names to texts."],
  [
    "a reference without a valid name",
    { references: { "A-B": "convex.url" } },
    "references.A-B",
    "is not a variable's name.",
  ],
  [
    "a variable that is also a reference",
    { variables: { URL: "x" }, references: { URL: "convex.url" } },
    "references.URL",
    "is also in variables, it should be in one of them.",
  ],
  [
    "an unknown reference",
    { references: { URL: "convex.link" } },
    "references.URL",
    '"convex.link" is not a reference, it should be one of convex.url, convex.siteUrl,',
  ],
  [
    "the admin key",
    { references: { KEY: "convex.adminKey" } },
    "references.KEY",
    '"convex.adminKey" is not for an app, because everybody who breaks into it could read or change all data',
  ],
  [
    "an unknown database",
    { references: { URL: "database:chat.url" } },
    "references.URL",
    '"database:chat.url" names no database of this stack, it should be one of databases: there is none.',
  ],
  [
    "an unknown secret",
    { references: { KEY: "secret:auth" } },
    "references.KEY",
    '"secret:auth" names no secret, it should be one of generatedSecrets: there is none. Let it be generated with: npx pulumi config set --stack test --path generatedSecrets.auth.bytes 32',
  ],
  [
    "an unknown app",
    { references: { API: "app:api.url" } },
    "references.API",
    '"app:api.url" names no app, it should be one of apps: web.',
  ],
  [
    "an app without a port",
    { references: { ME: "app:web.url" } },
    "references.ME",
    '"app:web.url" names an app without a port, it should have one. Set it with: npx pulumi config set --stack test --path apps.web.port 3000',
  ],
  [
    "an app without a host",
    { port: 1, references: { ME: "app:web.publicUrl" } },
    "references.ME",
    '"app:web.publicUrl" names an app without a public host, it should have one.',
  ],
  ["a port out of range", { port: 70000 }, "port", "70000 is above 65535, it should be from 1 to 65535."],
  ["a host without a port", { hosts: ["x.example.com"] }, "hosts", "has no port to lead to, it should come with one."],
  [
    "hosts as a text",
    { port: 1, hosts: "x.example.com" },
    "hosts",
    "is not a list, it should be a list of host names.",
  ],
  [
    "a host outside of the domain",
    { port: 1, hosts: ["x.example.org"] },
    "hosts[0]",
    '"x.example.org" is not in example.com, it should be a name in the domain',
  ],
  [
    "a host of Convex",
    { port: 1, hosts: ["api.example.com"] },
    "hosts[0]",
    '"api.example.com" is Convex\'s own, it should be another name.',
  ],
  [
    "a URL as a host",
    { port: 1, hosts: ["https://x.example.com"] },
    "hosts[0]",
    '"https://x.example.com" is more than a name, it should be a name such as app.example.com.',
  ],
  [
    "a path without a slash",
    { port: 1, healthPath: "health" },
    "healthPath",
    '"health" is not a path, it should be one such as /health.',
  ],
  ["a path without a port", { healthPath: "/health" }, "healthPath", "has no port to ask, it should come with one."],
  [
    "a path and a command",
    { port: 1, healthPath: "/health", healthCommand: "true" },
    "healthCommand",
    "is set beside healthPath, it should be alone.",
  ],
  [
    "a health command as Compose has it",
    { healthCommand: ["CMD", "curl", "localhost"] },
    "healthCommand",
    "is a list, it should be one text. Remove it with: npx pulumi config rm --stack test --path apps.web.healthCommand, and set it with: npx pulumi config set --stack test --path apps.web.healthCommand VALUE",
  ],
  ["a word that is a map", { command: ["serve", { port: 1 }] }, "command[1]", "is a map, it should be one text."],
  ["a word that is nothing", { command: [null] }, "command[0]", "is nothing, it should be one text."],
  [
    "a reference in a list",
    { references: { URL: ["convex.url"] } },
    "references.URL",
    '"["convex.url"]" is not a reference, it should be one of convex.url,',
  ],
  ["an empty health command", { healthCommand: " " }, "healthCommand", "is empty, it should be a command"],
  ["a flag in words", { stopFirst: "yes" }, "stopFirst", '"yes" is not a boolean, it should be true or false.'],
  ["too little time", { healthSeconds: 0 }, "healthSeconds", "0 is below 1, it should be from 1 to 900."],
  ["too little memory", { memoryMb: 4 }, "memoryMb", "4 is below 16, it should be from 16 to 1048576."],
  [
    "a share of processors in words",
    { cpus: "half" },
    "cpus",
    '"half" is not a share of processors, it should be a number such as 0.5.',
  ],
  [
    "a folder with a path as its name",
    { folders: { "../data": "/data" } },
    "folders.../data",
    "is not a name for a folder",
  ],
  [
    "a folder at a relative path",
    { folders: { data: "data" } },
    "folders.data",
    '"data" is not a place for a folder, it should be a path in the container such as /data.',
  ],
  ["a folder's path in a list", { folders: { data: ["/data"] } }, "folders.data", '"["/data"]" is not a place'],
  [
    "a folder over the whole container",
    { folders: { data: "/." } },
    "folders.data",
    '"/." is not a place for a folder, it should be a path in the container such as /data.',
  ],
  [
    "a path with two spellings",
    { folders: { data: "/srv//data" } },
    "folders.data",
    '"/srv//data" is not a place for a folder, it should be a path in the container such as /srv/data. Set it with: npx pulumi config set --stack test --path apps.web.folders.data /srv/data',
  ],
  [
    "a folder in /proc",
    { folders: { data: "/proc/data" } },
    "folders.data",
    '"/proc/data" is not a place for a folder',
  ],
  [
    "two folders at one path",
    { folders: { a: "/data", b: "/data" } },
    "folders.b",
    '"/data" is also the path of folder a, it should be another.',
  ],
  [
    "an owner by name",
    { folders: { data: "/data" }, folderOwner: "node" },
    "folderOwner",
    '"node" is not a user id, it should be a number such as 1000',
  ],
  [
    "an owner of no folder",
    { folderOwner: 1000 },
    "folderOwner",
    "has no effect without folders, it should come with them.",
  ],
  [
    "a probe without a port",
    { probes: { ping: { path: "/" } } },
    "probes",
    "has no port to ask, it should come with one. Set it with: npx pulumi config set --stack test --path apps.web.port 3000",
  ],
  [
    "a probe without a path",
    { port: 1, probes: { ping: { json: { ok: true } } } },
    "probes.ping.path",
    "is missing, it should be the path to ask. Set it with: npx pulumi config set --stack test --path apps.web.probes.ping.path /health",
  ],
  [
    "a probe with a URL",
    { port: 1, probes: { ping: { path: "https://x.example.com/" } } },
    "probes.ping.path",
    '"https://x.example.com/" is not a path, it should be one such as /health.',
  ],
  [
    "a probe with broken JSON",
    { port: 1, probes: { ping: { path: "/", json: "{ok: true}" } } },
    "probes.ping.json",
    "is not JSON, it should be what the answer has to equal. Set it with: npx pulumi config set --stack test --path apps.web.probes.ping.json '{\"ok\":true}'",
  ],
  [
    "a probe with another status",
    { port: 1, probes: { ping: { path: "/", status: 99 } } },
    "probes.ping.status",
    "99 is below 200, it should be from 200 to 599.",
  ],
  [
    "a probe that has no time",
    { port: 1, probes: { ping: { path: "/", withinSeconds: 0 } } },
    "probes.ping.withinSeconds",
    "0 is below 1, it should be from 1 to 900.",
  ],
  [
    "a probe that holds for a day",
    { port: 1, probes: { ping: { path: "/", holdSeconds: 86400 } } },
    "probes.ping.holdSeconds",
    "86400 is above 3600, it should be from 0 to 3600.",
  ],
  [
    "a misspelt option of a probe",
    { port: 1, probes: { ping: { path: "/", hold: 5 } } },
    "probes.ping.hold",
    "is not an option of a probe, it should be one; the nearest is holdSeconds.",
  ],
  ["a probe with a bad name", { port: 1, probes: { "a b": { path: "/" } } }, "probes.a b", "is not a name for a probe"],
  [
    "probes as a list",
    { port: 1, probes: ["/health"] },
    "probes",
    "is not a map, it should map names of probes to their options.",
  ],
  ["an app that waits for itself", { dependsOn: ["web"] }, "dependsOn[0]", '"web" closes a circle (web → web)'],
  [
    "an app that waits for nobody known",
    { dependsOn: ["api"] },
    "dependsOn[0]",
    '"api" is not an app, it should be one of the others: there is none.',
  ],
  [
    "Electric without its secret in public",
    { port: 1, hosts: ["x.example.com"], variables: { ELECTRIC_INSECURE: "true" } },
    "variables.ELECTRIC_INSECURE",
    "is true although the app is public",
  ],
])("%s: refused with its fix", (_, options, option, message) => {
  const mistakes = mistakesOfApp(options);
  expect(mistakes).toHaveLength(1);
  expect(mistakes[0]).toContain(`${path(option)}: ${message}`);
  expect(mistakes[0]).not.toContain("me:pw");
  expect(mistakes[0]).toMatch(
    /(npx pulumi config (set|rm) |Rename it\.|Change one of them\.|in quotes|Set KEY|Set it, or remove it\.)/,
  );
});

it("all mistakes of apps come in one message", () => {
  expect(
    mistakesOf({
      apps: { web: { image: "x", port: 0, references: { A: "b", C: "d" } }, api: { memoryMb: "much" } },
    }).map((line) => /^convex-droplet:(\S+): /.exec(line)?.[1]),
  ).toEqual([
    ...["apps.api.image", "apps.api.memoryMb", "apps.web.image", "apps.web.port"],
    ...["apps.web.references.A", "apps.web.references.C"],
  ]);
});

it("no message shows a value of a variable or a password", () => {
  const mistakes = mistakesOf({
    apps: {
      web: { image: IMAGE, variables: { "BAD-NAME": "s3cret", GOOD: "s3cret" }, references: { GOOD: "convex.url" } },
    },
    registries: { "a/b": { username: "s3cret", password: "s3cret", extra: "s3cret" } },
  });
  expect(mistakes.length).toBeGreaterThan(2);
  expect(mistakes.join()).not.toContain("s3cret");
});

it.each(["1", "yes", "TRUE"])("Electric without its secret in public is refused as it reads %s, too", (value) => {
  expect(mistakesOfApp({ port: 1, hosts: ["x.example.com"], variables: { ELECTRIC_INSECURE: value } })).toHaveLength(1);
});

it.each(["0", "False"])("Electric with its secret in public is accepted, also if it says so with %s", (value) => {
  expect(mistakesOfApp({ port: 1, hosts: ["x.example.com"], variables: { ELECTRIC_INSECURE: value } })).toEqual([]);
});

it("variables may have names that objects have", () => {
  expect(mistakesOfApp({ references: { constructor: "convex.url" } })).toEqual([]);
});

it("as many hosts as one certificate can have, with Convex's, are accepted, and not more", () => {
  const hosts = (count: number) => Array.from({ length: count }, (_, index) => `x${index}.example.com`);
  expect(mistakesOfApp({ port: 1, hosts: hosts(98) })).toEqual([]);
  expect(mistakesOfApp({ port: 1, hosts: hosts(99) })).toEqual([
    "convex-droplet:apps: have 99 hosts, it should be at most 98, because one certificate has 100 names, also Convex's. " +
      "Remove one with: npx pulumi config rm --stack test --path 'apps.web.hosts[98]'",
  ]);
});

it("a host in another domain is accepted if you make the records", () => {
  expect(mistakesOfApp({ port: 1, hosts: ["x.example.org"] }, { dns: "manual" })).toEqual([]);
});

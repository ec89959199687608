import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import puppeteer, { type Browser, type BrowserContext, type Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import { eventually, TestCloud } from "./harness.ts";

const STACK = "dash";
const DASHBOARD = "https://dash.convex.test";

let cloud: TestCloud;
let outputs: Record<string, string>;
let profile: string;
let browser: Browser | undefined;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", dashboardAccess: "password" });
  await useDomain(cloud.home, STACK, "convex.test");
  const up = await cloud.up(STACK);
  expect(up.exitCode, up.all).toBe(0);
  outputs = await cloud.outputs(STACK);
  profile = await mkdtemp(path.join(tmpdir(), "convex-droplet-browser-"));
  browser = await openBrowser(profile, outputs["publicIp"] ?? "");
});

afterAll(async () => {
  await browser?.close();
  await rm(profile, { recursive: true });
  await cloud[Symbol.asyncDispose]();
});

/** Debian's Chromium, which finds every name at the address, and trusts only the cloud's authority besides the public ones. */
async function openBrowser(home: string, address: string): Promise<Browser> {
  // Where Chromium looks for a user's authorities.
  const database = path.join(home, ".pki/nssdb");
  await mkdir(database, { recursive: true });
  const store = ["-d", `sql:${database}`];
  await execa("certutil", [...store, "-N", "--empty-password"]);
  // The file contains the authority of the ACME server itself, and then those that it issues with.
  const { stdout } = await execa("csplit", ["-sz", "-f", `${home}/ca-`, acmeAuthority(cloud.home), "/BEGIN/", "{*}"]);
  expect(stdout).toBe("");
  for (const name of ["ca-00", "ca-01"]) {
    await execa("certutil", [...store, "-A", "-n", name, "-t", "C,,", "-i", path.join(home, name)]);
  }
  return puppeteer.launch({
    executablePath: "/usr/bin/chromium",
    userDataDir: path.join(home, "profile"),
    env: { ...process.env, HOME: home },
    // Tests run as root, for which Chromium has no sandbox.
    args: ["--no-sandbox", `--host-resolver-rules=MAP * ${address}`],
  });
}

/** Opens a page of the dashboard as somebody new, who knows the password or does not. */
async function visit(
  route: string,
  password?: string,
): Promise<{ page: Page; status: number | undefined } & AsyncDisposable> {
  if (browser === undefined) throw new Error("there is no browser");
  const context: BrowserContext = await browser.createBrowserContext();
  const page = await context.newPage();
  if (password !== undefined) await page.authenticate({ username: "convex", password });
  // Chromium ends requests with this error if a network of this computer comes or goes, for example that of another test.
  const { opened, refused } = await eventually("the networks to stay as they are", 60, async () => {
    try {
      return { opened: await page.goto(`${DASHBOARD}${route}`) };
    } catch (error) {
      if (String(error).includes("net::ERR_NETWORK_CHANGED")) throw error;
      return { refused: error as Error };
    }
  });
  if (refused !== undefined) throw refused;
  return { page, status: opened?.status(), [Symbol.asyncDispose]: () => context.close() };
}

describe("the dashboard at its own name, in a browser", () => {
  it("asks for the password", async () => {
    await expect(visit("/")).rejects.toThrow("net::ERR_INVALID_AUTH_CREDENTIALS");
    await using guesser = await visit("/", "wrong");
    expect(guesser.status).toBe(401);
  });

  it("shows the deployment after a log-in with the admin key, at the public URL that it fills in itself", async () => {
    await using owner = await visit("/", outputs["dashboardPassword"]);
    const { page } = owner;
    expect(owner.status).toBe(200);
    expect(await page.evaluate("document.querySelector('#url').value")).toBe("https://api.convex.test");
    await page.locator("::-p-aria(Admin key)").fill(outputs["adminKey"] ?? "");
    await page.locator("::-p-aria([name='Log in'][role='button'])").click();
    await page.waitForSelector(`::-p-text(${outputs["instanceName"] ?? "none"})`, { visible: true });
  });

  it("refuses a log-in with a wrong admin key", async () => {
    await using owner = await visit("/", outputs["dashboardPassword"]);
    const { page } = owner;
    await page.locator("::-p-aria(Admin key)").fill("convex-self-hosted|wrong");
    await page.locator("::-p-aria([name='Log in'][role='button'])").click();
    await page.locator("::-p-text(The deployment URL or admin key is invalid)").wait();
  });

  it("answers links to its pages itself, with their parameters", async () => {
    await using page = await visit("/?from=link", outputs["dashboardPassword"]);
    expect(page.status).toBe(200);
    await using deep = await visit("/t/deep/link", outputs["dashboardPassword"]);
    // The sandbox's dashboard has no other pages, and says so.
    expect(await deep.page.evaluate("document.body.innerText")).toBe("This page could not be found.");
  });
});

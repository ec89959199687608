import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import { TestBrowser, type Visit } from "./browser.ts";
import { TestCloud } from "./harness.ts";

const STACK = "dash";
const DASHBOARD = "https://dash.convex.test";

let cloud: TestCloud;
let outputs: Record<string, string>;
let browser: TestBrowser | undefined;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", dashboardAccess: "password" });
  await useDomain(cloud.home, STACK, "convex.test");
  const up = await cloud.up(STACK);
  expect(up.exitCode, up.all).toBe(0);
  outputs = await cloud.outputs(STACK);
  browser = await TestBrowser.start(cloud, outputs["publicIp"] ?? "");
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** Opens a page of the dashboard as somebody new, who knows the password or does not. */
async function visit(route: string, password?: string): Promise<Visit> {
  if (browser === undefined) throw new Error("there is no browser");
  return browser.visit(`${DASHBOARD}${route}`, password === undefined ? undefined : { username: "convex", password });
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

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { expect } from "vitest";

import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import { eventually, type TestCloud } from "./harness.ts";

/** A page that somebody has opened, and the status that it was answered with. */
export type Visit = { page: Page; status: number | undefined } & AsyncDisposable;

/** Debian's Chromium, which finds every name at a stack's address, and trusts only the cloud's authority besides the public ones. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #home: string;

  private constructor(browser: Browser, home: string) {
    this.#browser = browser;
    this.#home = home;
  }

  /** @param address  of the droplet */
  static async start({ home: cloud }: TestCloud, address: string): Promise<TestBrowser> {
    const home = await mkdtemp(path.join(tmpdir(), "convex-droplet-browser-"));
    // Where Chromium looks for a user's authorities.
    const database = path.join(home, ".pki/nssdb");
    await mkdir(database, { recursive: true });
    const store = ["-d", `sql:${database}`];
    await execa("certutil", [...store, "-N", "--empty-password"]);
    // The file contains the authority of the ACME server itself, and then those that it issues with.
    const { stdout } = await execa("csplit", ["-sz", "-f", `${home}/ca-`, acmeAuthority(cloud), "/BEGIN/", "{*}"]);
    expect(stdout).toBe("");
    for (const name of ["ca-00", "ca-01"]) {
      await execa("certutil", [...store, "-A", "-n", name, "-t", "C,,", "-i", path.join(home, name)]);
    }
    const browser = await puppeteer.launch({
      executablePath: "/usr/bin/chromium",
      userDataDir: path.join(home, "profile"),
      env: { ...process.env, HOME: home },
      // Tests run as root, for which Chromium has no sandbox.
      args: ["--no-sandbox", `--host-resolver-rules=MAP * ${address}`],
    });
    return new TestBrowser(browser, home);
  }

  /** Opens a page as somebody new. */
  async visit(url: string, credentials?: { username: string; password: string }): Promise<Visit> {
    const context = await this.#browser.createBrowserContext();
    const page = await context.newPage();
    if (credentials !== undefined) await page.authenticate(credentials);
    // Chromium ends requests with this error if a network of this computer comes or goes, for example that of another test.
    const { opened, refused } = await eventually("the networks to stay as they are", 60, async () => {
      try {
        return { opened: await page.goto(url) };
      } catch (error) {
        if (String(error).includes("net::ERR_NETWORK_CHANGED")) throw error;
        return { refused: error as Error };
      }
    });
    if (refused !== undefined) throw refused;
    return { page, status: opened?.status(), [Symbol.asyncDispose]: () => context.close() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
    await rm(this.#home, { recursive: true });
  }
}

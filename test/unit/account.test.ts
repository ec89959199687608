import { afterEach, expect, it, vi } from "vitest";

import { Account, RefusedError } from "../../digitalocean/account.ts";

afterEach(() => vi.unstubAllGlobals());

it("a list has the entries of all pages", async () => {
  const asked: string[] = [];
  vi.stubGlobal("fetch", (url: URL) => {
    asked.push(url.href);
    const page = Number(url.searchParams.get("page") ?? 1);
    const next = {
      links: { pages: { next: `https://api.digitalocean.com/v2/firewalls?page=${page + 1}&per_page=200` } },
    };
    return Promise.resolve(Response.json({ firewalls: [page], ...(page < 3 ? next : { links: {} }) }));
  });
  expect(await new Account("t", "http://127.0.0.1:1").list("/v2/firewalls", "firewalls")).toEqual([1, 2, 3]);
  // The host in the answer is ignored.
  expect(asked).toEqual([
    "http://127.0.0.1:1/v2/firewalls?per_page=200",
    "http://127.0.0.1:1/v2/firewalls?page=2&per_page=200",
    "http://127.0.0.1:1/v2/firewalls?page=3&per_page=200",
  ]);
});

it("a refused call reports call and status, but not the token", async () => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("{}", { status: 401 })));
  const refused = new Account("dop_v1_secret").ask("DELETE", "/v2/firewalls/1");
  await expect(refused).rejects.toBeInstanceOf(RefusedError);
  await expect(refused).rejects.toMatchObject({
    status: 401,
    message: "DigitalOcean: answered 401 to DELETE /v2/firewalls/1",
  });
});

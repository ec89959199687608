import { afterAll, beforeAll, expect, it } from "vitest";
import { ensureImage } from "../../sandbox/images/build.ts";
import { revision } from "../../sandbox/images/recipe.ts";
import { TestSandbox, type TestContainer } from "./images-harness.ts";

let sandbox: TestSandbox;
let dashboard: TestContainer;
let address: string;

beforeAll(async () => {
  sandbox = await TestSandbox.create();
  const image = await ensureImage("dashboard", await revision(), () => undefined);
  dashboard = await sandbox.run(image, { env: { NEXT_PUBLIC_DEPLOYMENT_URL: "https://api.test/</script>" } });
  address = await dashboard.answers(6791);
});

afterAll(async () => {
  await sandbox[Symbol.asyncDispose]();
});

it("serves its page at the root, with the real one's headers", async () => {
  const response = await fetch(address);
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-type": "text/html; charset=utf-8",
    "strict-transport-security": "max-age=63072000; includeSubDomains; preload",
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "frame-ancestors 'self'",
  });
  expect((await fetch(`${address}/other`)).status).toBe(404);
});

it("inserts the deployment's URL from its environment, as data", async () => {
  const page = await (await fetch(address)).text();
  const [, settings = ""] = /<script id="settings" type="application\/json">(.*?)<\/script>/s.exec(page) ?? [];
  expect(JSON.parse(settings)).toEqual({ deploymentUrl: "https://api.test/</script>" });
});

it("does not run as root", async () => {
  expect(await dashboard.exec(["id"])).toBe("uid=1001(nextjs) gid=1001(nextjs) groups=1001(nextjs)\n");
});

it("ends after the signal that Docker sends", async () => {
  await dashboard.signal("SIGINT");
  expect(await dashboard.ended()).toBe(0);
});

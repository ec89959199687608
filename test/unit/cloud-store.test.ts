import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { expect, it, onTestFinished } from "vitest";

import { Store } from "../../sandbox/cloud/state.ts";
import { sandboxHome } from "../../sandbox/home.ts";

async function temporaryHome() {
  const root = await mkdtemp(path.join(tmpdir(), "cloud-store-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  return sandboxHome(root);
}

it("writes a change to the disk before it shows it", async () => {
  const home = await temporaryHome();
  const store = await Store.open(home);
  const change = store.change((draft) => draft.tags.push("web"));
  expect(store.state.tags).toEqual([]);
  await change;
  expect(store.state.tags).toEqual(["web"]);
  expect((await Store.open(home)).state).toEqual(store.state);
});

it("changes nothing if the edit throws half way, and continues with the next", async () => {
  const store = await Store.open(await temporaryHome());
  const failing = store.change((draft) => {
    draft.tags.push("half");
    throw new Error("refused");
  });
  const next = store.change((draft) => draft.tags.push("whole"));
  await expect(failing).rejects.toThrow("refused");
  await next;
  expect(store.state.tags).toEqual(["whole"]);
});

it("applies changes one after the other", async () => {
  const store = await Store.open(await temporaryHome());
  const numbers = await Promise.all(Array.from({ length: 20 }, () => store.change((draft) => draft.next.droplet++)));
  expect(new Set(numbers).size).toBe(20);
});

it("ignores a file that a crash left half written", async () => {
  const home = await temporaryHome();
  const store = await Store.open(home);
  await store.change((draft) => draft.tags.push("web"));
  const file = path.join(home.root, "cloud", "state.json");
  await writeFile(`${file}.next`, (await readFile(file, "utf8")).slice(0, 40));
  const again = await Store.open(home);
  expect(again.state.tags).toEqual(["web"]);
  await again.change((draft) => draft.tags.push("db"));
  expect((await Store.open(home)).state.tags).toEqual(["web", "db"]);
});

it("adds what an earlier version did not know", async () => {
  const home = await temporaryHome();
  const store = await Store.open(home);
  await store.change((draft) => draft.tags.push("web"));
  const file = path.join(home.root, "cloud", "state.json");
  const added = new Set(["domains", "reserved_ips", "dns_record"]);
  const earlier = JSON.stringify(store.state, (key, value: unknown) => (added.has(key) ? undefined : value));
  await writeFile(file, earlier);
  const again = await Store.open(home);
  expect(again.state).toEqual({
    ...store.state,
    next: { ...store.state.next, dns_record: expect.any(Number) as number },
  });
});

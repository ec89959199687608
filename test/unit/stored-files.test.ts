import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";

const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-stored-files-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** A row of a stored file, with plain values. */
const row = (storageId: string, content: string) => ({
  storageId,
  size: content.length,
  sha256: createHash("sha256").update(content).digest("base64"),
});

/** Runs the comparison; returns its lines, or its error. */
async function compare(args: string[], rows: object[]): Promise<string[]> {
  const input = rows.map((one) => JSON.stringify(one)).join("\n");
  const ended = await execa("python3", ["-IS", "machine/backups/blobs.py", ...args], { input, reject: false });
  return (ended.exitCode === 0 ? ended.stdout : ended.stderr).trim().split("\n");
}

describe("stored files in a folder", () => {
  it("are compared with their rows, also by content", async () => {
    const files = path.join(folder, "files");
    mkdirSync(files);
    for (const [name, content] of [
      ["good", "abc"],
      ["changed", "abd"],
      ["short", "ab"],
    ] as const) {
      writeFileSync(path.join(files, name), content);
    }
    const rows = ["good", "changed", "short", "lost"].map((name) => row(name, "abc"));
    expect(await compare([files], rows)).toEqual([
      "file changed: has another content than when it was stored",
      "file short: has 2 bytes, its row says 3",
      "file lost: is missing, the database has a row for it",
      "4 3",
    ]);
  });

  it("that are not as their rows say are listed up to 20, or all", async () => {
    const rows = Array.from({ length: 25 }, (_, index) => row(`gone-${index}`, "abc"));
    expect(await compare([folder], rows)).toHaveLength(20 + 2);
    expect(await compare(["--all", folder], rows)).toHaveLength(25 + 1);
  });
});

describe("stored files in a bucket", () => {
  /** A server that lists these objects, two at a time; `refusal` is answered instead. */
  async function serve(objects: [name: string, size: number][], refusal?: number): Promise<string> {
    const server = http.createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? "", "http://server");
      expect(pathname).toBe("/a-files");
      expect(request.headers.authorization).toMatch(
        /^AWS4-HMAC-SHA256 Credential=ID\/\d{8}\/nyc3\/s3\/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$/,
      );
      if (refusal !== undefined) {
        response.writeHead(refusal).end("<Error><Code>AccessDenied</Code></Error>");
        return;
      }
      expect(searchParams.get("prefix")).toBe("mine-1/");
      const start = Number(searchParams.get("continuation-token") ?? 0);
      const page = objects.slice(start, start + 2);
      const contents = page.map(([name, size]) => `<Contents><Key>mine-1/${name}</Key><Size>${size}</Size></Contents>`);
      const more = start + 2 < objects.length;
      response.end(
        `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>${more}</IsTruncated>` +
          `${more ? `<NextContinuationToken>${start + 2}</NextContinuationToken>` : ""}${contents.join("")}</ListBucketResult>`,
      );
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void server.close());
    const file = path.join(folder, "buckets");
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    writeFileSync(file, `endpoint=${endpoint}\nregion=nyc3\nbucket=a-files\nkey=ID\nkey_secret=the-secret\n`);
    return file;
  }

  it("are compared with their rows by name and size, over all pages of the list", async () => {
    const file = await serve([
      ["one", 3],
      ["two", 3],
      ["three", 2],
      ["of-nobody", 9],
      ["last", 3],
    ]);
    const rows = ["one", "two", "three", "last", "lost"].map((name) => row(name, "abc"));
    expect(await compare([file, "mine-1/"], rows)).toEqual([
      "file three: has 2 bytes in bucket a-files, its row says 3",
      "file lost: is missing in bucket a-files, the database has a row for it",
      "5 9",
    ]);
  });

  it("are not compared if the bucket refuses the key, which is not shown", async () => {
    const file = await serve([], 403);
    const [said = ""] = await compare([file, "mine-1/"], [row("one", "abc")]);
    expect(said).toMatch(/^bucket a-files at http:\S+ answers 403: <Error><Code>AccessDenied/);
    expect(said).not.toContain("the-secret");
  });
});

import { appendFileSync } from "node:fs";

/** A stand-in for a test of a new version: notes in DATA which containers answer at URL. Fails with FAIL. */
const { DATA = "", URL = "", FAIL = "" } = process.env;

const containers = new Set<string>();
for (let asked = 0; asked < 20; asked++) {
  // Another connection each time.
  const answer = await fetch(URL, { headers: { connection: "close" } });
  const { container } = (await answer.json()) as { container: string };
  containers.add(container);
}
appendFileSync(`${DATA}/own/tried`, `${[...containers].join(" ")}\n`);
if (FAIL !== "") {
  console.error(`the sign-up fails: ${FAIL}`);
  process.exit(3);
}

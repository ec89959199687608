import { appendFileSync, mkdirSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** A stand-in for a migration: notes in DATA that it ran, and what its key looks like. Takes SLOW seconds, and fails with FAIL. */
const { DATA = "", SLOW = "0", FAIL = "", KEY = "" } = process.env;

console.log("migrating");
await setTimeout(Number(SLOW) * 1000);
if (FAIL !== "") {
  console.error(`cannot migrate: ${FAIL}`);
  process.exit(3);
}
mkdirSync(`${DATA}/own`, { recursive: true });
appendFileSync(`${DATA}/own/migrations`, `${KEY.split("|").length} `);

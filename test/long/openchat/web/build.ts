import { readFileSync, writeFileSync } from "node:fs";

/** Builds the page: it gets the variables that PUBLIC names, and no build ends well without one of them. */
const { PUBLIC = "", REVISION = "" } = process.env;

const names = PUBLIC.split(",");
const missing = names.filter((name) => (process.env[name] ?? "") === "");
if (missing.length > 0) {
  console.error(`${missing.join(", ")}: not configured. The pages get them from the build, as arguments.`);
  process.exit(1);
}
const built = { REVISION, ...Object.fromEntries(names.map((name) => [name, process.env[name]])) };
const page = readFileSync("page.html", "utf8").replace("{{BUILT}}", () => JSON.stringify(built));
writeFileSync("index.html", page);
writeFileSync("built.json", JSON.stringify(built));

import { parseArgs } from "node:util";
import { instanceSecret, mintAdminKey } from "./admin-key.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "system-key": { type: "boolean", default: false }, "member-id": { type: "string", default: "0" } },
});
const [name, secret] = positionals;
if (name === undefined || secret === undefined || positionals.length > 2) {
  console.error("Usage: generate_key <instance name> <instance secret> [--system-key | --member-id <number>]");
  process.exit(2);
}
console.log(
  mintAdminKey(name, instanceSecret(secret), {
    issuedSeconds: Math.floor(Date.now() / 1000),
    identity: values["system-key"] ? { kind: "system" } : { kind: "member", memberId: Number(values["member-id"]) },
    isReadOnly: false,
  }),
);

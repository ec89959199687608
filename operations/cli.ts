import { parseArgs } from "node:util";

import { readOutputs } from "./outputs.ts";
import { runSsh } from "./ssh-command.ts";

const HELP = `Usage: npm run ssh -- --stack STACK [COMMAND ...]
       npm run tunnel -- --stack STACK

  ssh      opens a shell on the stack's droplet, or runs a command there
  tunnel   brings the dashboard, the API and the HTTP actions to this computer until Ctrl-C

Both take key and address from the stack's outputs, so they need its state and passphrase and nothing else.
`;

/** @returns the process's exit code */
async function main(args: string[]): Promise<number> {
  const { values, positionals, tokens } = parseArgs({
    args,
    options: { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const [verb] = positionals;
  if (values.help === true || (verb !== "ssh" && verb !== "tunnel")) {
    process.stdout.write(HELP);
    return values.help === true ? 0 : 2;
  }
  if (typeof values.stack !== "string")
    throw new Error(`${verb}: no stack given. Name one: npm run ${verb} -- --stack dev`);
  const outputs = await readOutputs(values.stack);
  if (verb === "tunnel") return tunnel(outputs);
  // All behind the stack's name belongs to the command, its options too.
  const stackAt = tokens.find((token) => token.kind === "option" && token.name === "stack")?.index ?? 0;
  const inline = args[stackAt]?.includes("=") === true;
  return runSsh(
    outputs,
    [],
    args.slice(stackAt + (inline ? 1 : 2)).filter((word, index) => index > 0 || word !== "--"),
  );
}

function tunnel(outputs: Awaited<ReturnType<typeof readOutputs>>): Promise<number> {
  // The far ends are where the containers are bound; public ones answer on loopback too.
  const ports = [outputs.dashboardUrl, outputs.backendUrl, outputs.siteUrl]
    .map((url) => Number(new URL(url).port))
    .filter(Boolean);
  process.stderr.write(
    `The dashboard is at ${outputs.dashboardUrl}\n` +
      `  log in at ${outputs.backendUrl} with the key of: pulumi stack output adminKey --show-secrets\n` +
      "Ctrl-C closes the tunnel.\n",
  );
  const forwards = ports.flatMap((port) => ["-L", `127.0.0.1:${port}:127.0.0.1:${port}`]);
  return runSsh(outputs, ["-N", "-o", "ExitOnForwardFailure=yes", ...forwards], []);
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);

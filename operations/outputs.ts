import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The outputs of a stack that the commands of this folder need. */
export interface Outputs {
  publicIp: string;
  sshPrivateKey: string;
  sshHostKey: string;
  backendUrl: string;
  siteUrl: string;
  dashboardUrl: string;
  adminKey: string;
}

const NEEDED = [
  "publicIp",
  "sshPrivateKey",
  "sshHostKey",
  "backendUrl",
  "siteUrl",
  "dashboardUrl",
  "adminKey",
] as const;

/**
 * Reads a deployed stack's outputs, secrets among them, from its state; asks neither the cloud nor the machine.
 *
 * @throws Error when the stack is unknown, its passphrase is wrong, or it was never deployed to the end
 */
export async function readOutputs(stack: string): Promise<Outputs> {
  const { stdout } = await promisify(execFile)("pulumi", [
    "stack",
    "output",
    "--json",
    "--show-secrets",
    "--stack",
    stack,
  ]).catch((error: unknown) => {
    const reason = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : String(error);
    throw new Error(`stack ${stack}: its outputs cannot be read. ${reason}`);
  });
  const outputs = JSON.parse(stdout) as Partial<Outputs>;
  const missing = NEEDED.filter((name) => outputs[name] === undefined);
  if (missing.length > 0) {
    throw new Error(
      `stack ${stack}: has no ${missing.join(", ")}, it should be deployed. Deploy it with: pulumi up --stack ${stack}`,
    );
  }
  return outputs as Outputs;
}

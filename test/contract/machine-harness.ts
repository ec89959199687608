import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa, execaSync } from "execa";
import { vi } from "vitest";

import { HOST_IN_CONTAINERS, MOUNTPOINT, NETWORK, ROLES } from "../../contract/names.ts";
import { namedValues, type Values, scriptFiles, SCRIPTS } from "../../contract/scripts.ts";
import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { containerName } from "../../sandbox/droplet/container.ts";
import type { Lab } from "./droplet-harness.ts";

export { SCRIPTS };

/** The values that host.sh reads on stdin. */
export function hostValues({
  volume = "data",
  sizeGb = 100,
  mountpoint = MOUNTPOINT,
  keys = [] as string[],
  rebootTime = "08:00",
  adopted = { name: "", secretHash: "" },
} = {}): string {
  return namedValues({
    ...{ volume, size_gb: sizeGb, mountpoint, operator_keys: keys, reboot_time: rebootTime },
    ...{ adopted_name: adopted.name, adopted_secret_hash: adopted.secretHash, stack: "dev" },
  });
}

/** A server's key and certificate for its name, and the certificate of the authority that signed it. */
function certify(): Record<"key" | "certificate" | "authority", string[]> {
  const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-certificate-"));
  const [authority, server] = [path.join(folder, "authority"), path.join(folder, "server")];
  const make = (file: string, ...options: string[]) =>
    execaSync("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-keyout", `${file}.key`, "-out", `${file}.crt`, "-subj", `/CN=${path.basename(file)}`, ...options],
    ]);
  const names = `subjectAltName=DNS:${HOST_IN_CONTAINERS}`;
  const lines = (file: string) => readFileSync(file, "utf8").trim().split("\n");
  try {
    make(authority);
    make(server, "-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-addext", names);
    return { key: lines(`${server}.key`), certificate: lines(`${server}.crt`), authority: lines(`${authority}.crt`) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const CERTIFIED = certify();

/** The values that postgres.sh reads on stdin. */
export function postgresValues(
  password: string,
  maxConnections = 84,
  certified = CERTIFIED,
  repository: Values = NO_REPOSITORY,
  migrate = false,
  databases: string[] = [],
): string {
  return namedValues({
    ...{
      mountpoint: MOUNTPOINT,
      volume_gb: 20,
      gateway: NETWORK.gateway,
      subnet: NETWORK.subnet,
      database: "convex_self_hosted",
    },
    ...{ role: ROLES.owner, administrator: ROLES.administrator, max_connections: maxConnections, databases, password },
    ...{ migrate: String(migrate), move: "false", passwords: [], cluster: "", cluster_host: "", cluster_port: "" },
    ...{ cluster_administrator: "", cluster_password: "", cluster_authority: "" },
    ...certified,
    scripts: scriptFiles(),
    ...repository,
  });
}

/** The values of a machine without backups. */
export const NO_REPOSITORY: Values = Object.fromEntries(
  [
    ...["stanza", "backup_days"],
    ...["endpoint", "region", "bucket", "key", "key_secret", "passphrase", "authority"].map(
      (name) => `repository_${name}`,
    ),
  ].map((name) => [name, ""]),
);

/** A script's exit code and output. */
export interface ScriptRun {
  exitCode: number;
  output: string;
}

/** Encodes the input, because a test checks command lines for secrets, and the test's own command line must not contain any. */
function piped(stdin: string): string {
  return `base64 -d <<< '${Buffer.from(stdin).toString("base64")}'`;
}

/** A booted droplet with the scripts, which runs them as the program does. */
export class Machine {
  readonly droplet: DropletSpec;
  readonly #lab: Lab;

  private constructor(lab: Lab, droplet: DropletSpec) {
    this.#lab = lab;
    this.droplet = droplet;
  }

  static async create(lab: Lab, droplet: DropletSpec): Promise<Machine> {
    await lab.room.createDroplet(droplet);
    // Any result of cloud-init is fine here, because the scripts check it.
    await vi.waitFor(() => lab.ssh(droplet, "cloud-init status --wait || true"), { timeout: 60_000, interval: 200 });
    await execa("docker", ["cp", "machine/.", `${containerName(lab.home, droplet.id)}:${SCRIPTS}`]);
    return new Machine(lab, droplet);
  }

  /** Runs a command as root; resolves to its output. @throws Error if the command fails */
  sh(command: string): Promise<string> {
    return this.#lab.ssh(this.droplet, command);
  }

  /** The same for a command that may fail: its exit code, and stdout and stderr together. */
  async try(command: string): Promise<ScriptRun> {
    const said = await this.sh(`( ${command}\n) 2>&1; echo "exit $?"`);
    const [, output = "", exitCode = ""] = /^([^]*?)\n?exit (\d+)$/.exec(said) ?? [];
    return { exitCode: Number(exitCode), output };
  }

  run(script: string, stdin = ""): Promise<ScriptRun> {
    return this.try(`${piped(stdin)} | bash ${SCRIPTS}/${script}`);
  }

  /**
   * Runs a script, and kills it with all its processes as soon as a shell condition is true; `$log` is the file with the
   * script's output. Fails if the script ends before that.
   */
  async killWhen(condition: string, script: string, stdin = ""): Promise<void> {
    const { exitCode, output } = await this.try(`
      log=$(mktemp)
      ${piped(stdin)} | setsid bash ${SCRIPTS}/${script} > "$log" 2>&1 &
      until ${condition}; do
        kill -0 $! 2> /dev/null || { cat "$log"; exit 1; }
        sleep 0.005
      done
      kill -KILL -- -$!`);
    if (exitCode !== 0) throw new Error(`${script} ended before: ${condition}\n${output}`);
  }

  /** State that a run without changes must not change: files, start times of services, mounts, packet rules. */
  async snapshot(services: string[]): Promise<string> {
    return this.sh(
      [
        "find /etc /opt -xdev \\( -type f -o -type l \\) -printf '%p %m %u %T@ %l\\n' | sort",
        `systemctl show --property Id,MainPID,ActiveEnterTimestampMonotonic,UnitFileState ${services.join(" ")}`,
        "findmnt --noheadings --list --output TARGET,SOURCE,OPTIONS --types ext4,proc",
        "nft --stateless list ruleset",
        "ls -A /run/convex-droplet",
      ].join("; "),
    );
  }
}

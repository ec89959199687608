import { mkdir, writeFile } from "node:fs/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { openLab, type Lab } from "./droplet-harness.ts";

let lab: Lab;
let droplet: DropletSpec;

beforeAll(async () => {
  lab = await openLab();
  await mkdir(`${lab.home.root}/registry`, { recursive: true });
  await writeFile(`${lab.home.root}/registry/ca.crt`, "an authority\n");
  droplet = lab.spec(1, {
    write_files: [{ path: "/etc/greeting", content: "hello", permissions: "0640" }],
    runcmd: [["touch", "/var/lib/ran"]],
  });
  await lab.room.createDroplet(droplet);
  await lab.booted(droplet);
});
afterAll(() => lab[Symbol.asyncDispose]());

describe("a booted droplet", () => {
  test("runs all of systemd's units", async () => {
    expect(await lab.room.dropletStatus(1)).toBe("running");
    expect(await lab.ssh(droplet, "systemctl is-system-running --wait; systemctl --failed --no-legend")).toBe(
      "running",
    );
    expect(await lab.ssh(droplet, "hostname; cat /proc/1/comm; stat -fc %T /sys/fs/cgroup")).toBe(
      "machine-1\nsystemd\ncgroup2fs",
    );
  });

  test("has the memory and processors of its size", async () => {
    const name = `droplet-${lab.home.id}-1`;
    const { stdout } = await execa("docker", [
      "inspect",
      "--format",
      "{{.HostConfig.Privileged}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}",
      name,
    ]);
    expect(stdout).toBe("false 1073741824 1000000000");
  });

  test("has applied its user-data, which only root can read", async () => {
    expect(await lab.ssh(droplet, "cloud-init status")).toBe("status: done");
    expect(await lab.ssh(droplet, "cat /etc/greeting; stat -c ' %a' /etc/greeting; ls /var/lib/ran")).toBe(
      "hello 640\n/var/lib/ran",
    );
    expect(await lab.ssh(droplet, "cat /var/lib/cloud/instance/user-data.txt")).toBe(droplet.userData?.trim());
    const readable =
      "runuser -u nobody -- find / -path /usr -prune -o -path /proc -prune -o -name 'user-data*' -readable -print 2>/dev/null";
    expect(await lab.ssh(droplet, `${readable} || true`)).toBe("");
  });

  test("accepts a login as root with the account's key only, and has no other user", async () => {
    expect(await lab.ssh(droplet, "cat /root/.ssh/authorized_keys")).toBe(droplet.sshKeys[0]);
    expect(await lab.ssh(droplet, "ls /home")).toBe("");
  });

  test("trusts the sandbox's registry and resolves its name", async () => {
    const folder = `/etc/docker/certs.d/registry.sandbox:${lab.home.registryPort}`;
    expect(await lab.ssh(droplet, `cat ${folder}/ca.crt`)).toBe("an authority");
    expect(await lab.ssh(droplet, "getent hosts registry.sandbox")).toMatch(/^198\.\d+\.\d+\.1 +registry\.sandbox$/);
  });

  test("has plain files where Docker usually mounts files", async () => {
    await lab.ssh(droplet, "echo '10.9.8.7 elsewhere' >> /etc/hosts && sed -i s/elsewhere/somewhere/ /etc/hosts");
    expect(await lab.ssh(droplet, "getent hosts somewhere")).toBe("10.9.8.7        somewhere");
  });

  test("gets its metadata at the metadata address, and only there", async () => {
    const ask = (path: string) => lab.ssh(droplet, `curl -sS -w ' %{http_code}' http://169.254.169.254${path}`);
    expect(await ask("/metadata/v1/id")).toBe("1 200");
    expect(await ask("/metadata/v1/hostname")).toBe("machine-1 200");
    expect(await ask("/metadata/v1/user-data")).toBe(`${droplet.userData ?? ""} 200`);
    expect(await ask("/metadata/v1/interfaces/public/0/ipv4/address")).toBe(`${droplet.publicAddress} 200`);
    expect(await ask("/metadata/v1/nothing")).toBe("not found 404");
  });

  test("can block the metadata address itself", async () => {
    const rule = "OUTPUT -d 169.254.169.254 -m owner ! --uid-owner root -j REJECT";
    await lab.ssh(droplet, `iptables -A ${rule}`);
    const ask = "curl -sS -o /dev/null -w '%{http_code}' http://169.254.169.254/metadata/v1/id";
    expect(await lab.ssh(droplet, ask)).toBe("200");
    expect(await lab.ssh(droplet, `runuser -u nobody -- ${ask} 2>/dev/null || true`)).toBe("000");
    await lab.ssh(droplet, `iptables -D ${rule}`);
  });

  test("installs packages, and runs containers on overlay2 that reach the network", { timeout: 240_000 }, async () => {
    await lab.ssh(
      droplet,
      "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install -y docker.io busybox-static >/dev/null",
    );
    expect(await lab.ssh(droplet, "docker info --format {{.Driver}}")).toMatch(/^overlay/);
    await lab.ssh(droplet, "tar -C / -c usr/bin/busybox | docker import - tiny");
    expect(await lab.ssh(droplet, "docker run --rm tiny /usr/bin/busybox echo ran")).toBe("ran");
    const ask = "docker run --rm tiny /usr/bin/busybox wget -qO- http://169.254.169.254/metadata/v1/id";
    expect(await lab.ssh(droplet, ask)).toBe("1");
  });
});

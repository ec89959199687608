import { expect, test } from "vitest";
import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { metadataAnswer } from "../../sandbox/droplet/metadata.ts";

const droplet: DropletSpec = {
  id: 42,
  name: "web",
  region: "fra1",
  publicAddress: "127.99.7.1",
  userData: "#cloud-config\n",
  sshKeys: ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"],
  volumeIds: [],
  memoryMegabytes: 1024,
  vcpus: 1,
};

test.each([
  ["id", "42"],
  ["hostname", "web"],
  ["region", "fra1"],
  ["user-data", "#cloud-config\n"],
  ["public-keys", "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two"],
  ["interfaces/public/0/ipv4/address", "127.99.7.1"],
  ["", "id\nhostname\nuser-data\npublic-keys\nregion\ninterfaces/\nreserved_ip/"],
  ["reserved_ip/ipv4/active", "false"],
  ["reserved_ip/ipv4/ip_address", undefined],
  ["interfaces/public/0/", "ipv4/\ntype"],
  ["nothing", undefined],
  ["id/deeper", undefined],
  ["constructor", undefined],
])("/metadata/v1/%s", (path, answer) => {
  expect(metadataAnswer(droplet, `/metadata/v1/${path}`)).toBe(answer);
});

test("everything in one document", () => {
  expect(JSON.parse(metadataAnswer(droplet, "/metadata/v1.json") ?? "")).toEqual({
    droplet_id: 42,
    hostname: "web",
    user_data: "#cloud-config\n",
    public_keys: droplet.sshKeys,
    region: "fra1",
    interfaces: { public: [{ ipv4: { ip_address: "127.99.7.1" }, type: "public" }] },
    reserved_ip: { ipv4: { active: false } },
  });
});

test("a droplet with a reserved address knows it", () => {
  const assigned = { ...droplet, reservedAddress: "127.99.7.251" };
  expect(metadataAnswer(assigned, "/metadata/v1/reserved_ip/ipv4/active")).toBe("true");
  expect(metadataAnswer(assigned, "/metadata/v1/reserved_ip/ipv4/ip_address")).toBe("127.99.7.251");
  expect(JSON.parse(metadataAnswer(assigned, "/metadata/v1.json") ?? "")).toMatchObject({
    reserved_ip: { ipv4: { active: true, ip_address: "127.99.7.251" } },
  });
});

test("a droplet without user-data has none", () => {
  const without = { ...droplet };
  delete without.userData;
  expect(metadataAnswer(without, "/metadata/v1/user-data")).toBeUndefined();
  expect(metadataAnswer(without, "/metadata/v1/")).not.toContain("user-data");
});

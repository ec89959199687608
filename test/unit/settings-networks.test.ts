import { beforeEach, describe, expect, it } from "vitest";

import { mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

describe.each(["adminCidrs", "allowedCidrs"])("%s", (key) => {
  /** The mistakes in a network, next to a valid one. */
  const said = (network: string) => mistakesOf({ [key]: [network, "192.0.2.0/24"] });
  const set = `Set it with: npx pulumi config set --stack test --path '${key}[0]'`;

  it.each([
    "203.0.113.0/24",
    "203.0.113.7/32",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "2001:DB8:0:0::/64",
    "2001:db8::1/128",
  ])("accepts %s", (network) => {
    expect(said(network)).toEqual([]);
  });

  it.each([
    ["203.0.113.77/24", "203.0.113.0/24", "203.0.113.77/32", "203.0.113.0/24"],
    ["10.0.0.0/0", "0.0.0.0/0", "10.0.0.0/32", "0.0.0.0/0"],
    ["10.1.2.3/31", "10.1.2.2/31", "10.1.2.3/32", "10.1.2.2/31"],
    ["2001:db8::5678/64", "2001:db8::/64", "2001:db8::5678/128", "2001:db8::/64"],
    ["2001:db8::5678/32", "2001:db8::/32", "2001:db8::5678/128", "2001:db8::5678/128"],
  ])("refuses %s, which has bits set after its prefix", (network, whole, single, proposed) => {
    expect(said(network)).toEqual([
      `convex-droplet:${key}[0]: "${network}" has bits set after its prefix, it should be ${whole}, or ${single} for the one address. ${set} ${proposed}`,
    ]);
  });

  it.each([
    ["203.0.113.7", "203.0.113.7/32"],
    ["2001:db8::1", "2001:db8::1/128"],
    ["10.0.0.0/08", "10.0.0.0/8"],
    ["0.0.0.0/00", "0.0.0.0/0"],
    ["10.0.0.0/33", "203.0.113.0/24"],
    ["2001:db8::/129", "203.0.113.0/24"],
    ["010.0.0.0/8", "203.0.113.0/24"],
    ["10.0/8", "203.0.113.0/24"],
    ["0x0a000000/8", "203.0.113.0/24"],
    ["10.0.0.0/-8", "203.0.113.0/24"],
    ["10.0.0.0/ 8", "203.0.113.0/24"],
    ["10.0.0.0/", "203.0.113.0/24"],
    ["10.0.0.0/8/8", "203.0.113.0/24"],
    ["fe80::1%eth0/128", "203.0.113.0/24"],
    ["/32", "203.0.113.0/24"],
    ["", "203.0.113.0/24"],
  ])("refuses %j", (network, proposed) => {
    expect(said(network)).toEqual([
      expect.stringContaining(`convex-droplet:${key}[0]: "${network}" is not valid, it should be `),
    ]);
    expect(said(network)[0]).toContain(`${set} ${proposed}`);
  });

  it("must contain a network that can reach a droplet", () => {
    expect(mistakesOf({ [key]: ["2001:db8::/32", "::/0"] })).toEqual([
      `convex-droplet:${key}: has no IPv4 network, it should have one: a droplet has no IPv6 address that these could reach. ` +
        `Set it with: npx pulumi config set --stack test --path '${key}[2]' 203.0.113.0/24`,
    ]);
  });
});

it("only the backend can be closed to all networks, not SSH", () => {
  expect(mistakesOf({ adminCidrs: [] })).toEqual([
    "convex-droplet:adminCidrs: is empty, it should contain the network that you run pulumi from, or no run can reach the droplet. " +
      "Set it with: npx pulumi config set --stack test --path 'adminCidrs[0]' 203.0.113.0/24",
  ]);
  expect(mistakesOf({ allowedCidrs: [] })).toEqual([]);
});

import { expect, test } from "vitest";
import { container } from "../../sandbox/plugins/docker/container.ts";
import { formatDuration, parseDuration } from "../../sandbox/plugins/docker/duration.ts";
import { findOrPullImage, registryOf, repoDigest } from "../../sandbox/plugins/docker/image.ts";
import { network } from "../../sandbox/plugins/docker/network.ts";
import { docker } from "../../sandbox/plugins/docker/plugin.ts";
import { remoteImage } from "../../sandbox/plugins/docker/remote-image.ts";
import { expectSdkArguments, expectSdkProperties } from "./plugin-declarations.ts";

test.each([
  ["container", "Container", container],
  ["network", "Network", network],
  ["remoteImage", "RemoteImage", remoteImage],
])("%s has the properties of the npm SDK", (module, className, resource) => {
  expectSdkProperties(resource, "docker", module, className);
});

test("the provider has the arguments of the npm SDK", () => {
  expectSdkArguments(docker().config, "docker", "provider", "ProviderArgs");
});

test.each([
  ["0s", 0, "0s"],
  ["0", 0, "0s"],
  ["60s", 60e9, "1m0s"],
  ["5s", 5e9, "5s"],
  ["1m30s", 90e9, "1m30s"],
  ["1h", 3600e9, "1h0m0s"],
  ["1.5s", 1.5e9, "1.5s"],
  ["500ms", 5e8, "500ms"],
  ["1500us", 1.5e6, "1.5ms"],
  ["10ns", 10, "10ns"],
])("the duration %s is %d ns, in Go's form %s", (text, nanoseconds, printed) => {
  expect(parseDuration(text)).toBe(nanoseconds);
  expect(formatDuration(nanoseconds)).toBe(printed);
});

test.each(["", "5", "s", "1 s", "-1s", "1d", "1s x"])("%j is not a duration", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test("the digest of an image is the one in the repository of its name", () => {
  const image = { RepoDigests: ["other/name@sha256:aa", "localhost:5000/name@sha256:bb"] } as never;
  expect(repoDigest(image, "localhost:5000/name:1.2")).toBe("localhost:5000/name@sha256:bb");
  expect(repoDigest(image, "localhost:5000/name@sha256:bb")).toBe("localhost:5000/name@sha256:bb");
  expect(repoDigest({ RepoDigests: null } as never, "built:here")).toBe("");
});

test.each([
  ["ghcr.io/me/web@sha256:aa", "ghcr.io"],
  ["registry.sandbox:5000/web", "registry.sandbox:5000"],
  ["localhost/web", "localhost"],
  ["me/web", "registry-1.docker.io"],
  ["web", "registry-1.docker.io"],
])("the registry of %s is %s", (reference, registry) => {
  expect(registryOf(reference)).toBe(registry);
});

test("an image is pulled with the credentials of its own registry, and of no other", async () => {
  const given: unknown[] = [];
  const notFound = Object.assign(new Error("no such image"), { statusCode: 404 });
  const engine = {
    getImage: () => ({ inspect: () => Promise.reject(notFound) }),
    pull: (_reference: string, options: object) => {
      given.push(options);
      return Promise.reject(new Error("enough"));
    },
  };
  const credentials = [
    { address: "other.example", username: "you", password: "wrong" },
    { address: "https://ghcr.io", username: "me", password: "token" },
  ];
  const pull = (reference: string) =>
    findOrPullImage(engine as never, reference, credentials, new AbortController().signal);
  await expect(pull("ghcr.io/me/web@sha256:aa")).rejects.toThrow("enough");
  await expect(pull("quay.io/me/web@sha256:aa")).rejects.toThrow("enough");
  expect(given).toEqual([
    expect.objectContaining({ authconfig: { username: "me", password: "token", serveraddress: "https://ghcr.io" } }),
    expect.not.objectContaining({ authconfig: expect.anything() as unknown }),
  ]);
});

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { invokable, resource, unsupported } from "../../sandbox/plugins/framework/definition.ts";
import { InitError } from "../../sandbox/plugins/framework/errors.ts";
import { serve } from "../../sandbox/plugins/framework/serve.ts";
import type { PropertyBag } from "../../sandbox/plugins/framework/values.ts";

interface Thing {
  label?: string | undefined;
  tags?: string[] | undefined;
  ports?: { internal: number; protocol: string }[] | undefined;
  address: string;
}

/** A bridged plugin with one resource type in memory, to test the framework. */
interface World {
  settings: PropertyBag;
  things: Map<string, Thing>;
}

const thing = resource<World>()({
  inputs: {
    name: { type: "string", autoname: { maxLength: 16, lowerCase: true }, replaces: true },
    size: { type: "integer", required: true, replaces: true },
    label: { type: "string" },
    token: { type: "string", secret: true },
    tags: { type: "set", items: { type: "string" } },
    region: { type: "string", computed: true },
    ports: {
      type: "list",
      items: {
        type: "object",
        properties: {
          internal: { type: "integer", required: true, replaces: true },
          protocol: { type: "string", default: "tcp" },
        },
      },
    },
    ...unsupported("legacy"),
  },
  outputs: {
    address: { type: "string" },
    key: { type: "string", secret: true },
    revision: { type: "integer", changesOnUpdate: true },
    settings: { type: "any" },
  },
  timeouts: { create: 60 },
  create: async ({ client, signal, log }, { name, label, tags, ports }) => {
    if (label === "refused") throw new Error("the cloud said no");
    if (label === "endless") {
      log("info", "waiting");
      await once(signal, "abort");
      throw signal.reason;
    }
    if (label === "slow") {
      log("info", "waiting");
      await sleep(1000);
    }
    client.things.set(name, { label, tags, ports, address: "10.0.0.1" });
    const outputs = { address: "10.0.0.1", key: "hush", revision: 1, region: "ams3", settings: client.settings };
    if (label === "unhealthy") throw new InitError(name, outputs, "it is there but does not answer");
    return { id: name, outputs };
  },
  read: ({ client }, { id }) => {
    const found = client.things.get(id);
    if (found?.label === "unreadable") throw new Error("the cloud is closed");
    return Promise.resolve(found);
  },
  update: ({ client }, { id }, { label, tags, ports }, changed) => {
    if (label === "refused") throw new Error("the cloud said no");
    client.things.set(id, { label, tags, ports, address: "10.0.0.2" });
    return Promise.resolve({ address: [...changed].sort().join(), revision: 2 });
  },
  delete: ({ client }, { id }) => {
    if (!client.things.delete(id)) throw new Error("the cloud does not know it");
    return Promise.resolve();
  },
});

/** Changes or removes a resource from outside. */
const meddle = invokable<World>()({
  inputs: {
    name: { type: "string", required: true },
    label: { type: "string" },
    tags: { type: "set", items: { type: "string" } },
    ports: {
      type: "list",
      items: {
        type: "object",
        properties: { internal: { type: "integer", required: true }, protocol: { type: "string", default: "tcp" } },
      },
    },
    remove: { type: "boolean" },
  },
  call: ({ client }, { name, label, tags, ports, remove }) => {
    if (remove) client.things.delete(name);
    else client.things.set(name, { label, tags, ports, address: "10.0.0.9" });
    return Promise.resolve({ left: client.things.size });
  },
});

serve<World>(
  {
    // The framework takes the version from this npm package.
    name: "random",
    kind: "bridged",
    config: {
      token: { type: "string", env: ["FIXTURE_TOKEN", "FIXTURE_ACCESS_TOKEN"], secret: true },
      retries: { type: "integer", default: 4 },
      hosts: { type: "list", items: { type: "string" } },
    },
    configure: (settings) => ({ settings, things: new Map() }),
    resources: { "test:index/thing:Thing": thing },
    functions: { "test:index/meddle:meddle": meddle },
  },
  // Official plugins wait five minutes.
  100,
);

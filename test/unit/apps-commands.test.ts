import { describe, expect, it } from "vitest";

import { TYPES } from "../../contract/names.ts";
import { appContainer } from "../../operations/apps.ts";
import { logNamed } from "../../operations/logs.ts";
import { readTask } from "../../operations/task.ts";
import { stateOf } from "./findings.ts";

const container = (name: string) => ({ type: TYPES.container, name, inputs: { name } });
const state = stateOf(
  ...["convex-backend", "convex-app-web-0a1b2c", "convex-app-web-2-ffffff", "convex-app-proxy-0d0e0f"].map(container),
);
const none = stateOf(container("convex-backend"));

describe("the container of an app", () => {
  it("is the deployed one, also if another app's name begins with this one's", () => {
    expect(appContainer(state, "web")).toBe("convex-app-web-0a1b2c");
    expect(appContainer(state, "web-2")).toBe("convex-app-web-2-ffffff");
  });

  it("of an unknown app is refused with the names that there are, or with how to add it", () => {
    expect(() => appContainer(state, "api")).toThrow(
      "api: is not an app of stack dev, it should be one of web, web-2, proxy.",
    );
    expect(() => appContainer(none, "api")).toThrow(
      "api: is not an app of stack dev, which has none. Add it with: npx pulumi config set --stack dev --path apps.api.image IMAGE, then: npx pulumi up --stack dev",
    );
  });
});

describe("a log", () => {
  it("of an app is its container's, and the droplet's own have their names first", () => {
    expect(logNamed("web", state)(5, "--follow")).toBe("docker logs --tail 5 --follow convex-app-web-0a1b2c 2>&1");
    expect(logNamed("proxy", state)(5, "")).toContain("/var/log/nginx/access.log");
    expect(logNamed("app:proxy", state)(5, "")).toContain("convex-app-proxy-0d0e0f");
  });

  it("that does not exist is refused with those that do", () => {
    expect(() => logNamed("nginx", state)).toThrow(
      "nginx: has no log, it should be one of backend, dashboard, postgres, proxy, backups, web, web-2, proxy.",
    );
  });
});

describe("a task", () => {
  it.each([
    ["--stack dev web -- node migrate.js --stack prod", ["node", "migrate.js", "--stack", "prod"]],
    ["-s dev web node --help", ["node", "--help"]],
    ["--stack=dev web -- -- x", ["--", "x"]],
    ["--stack dev web", []],
  ])("has all words after its app as its command: '%s'", (words, command) => {
    expect(readTask(words.split(" "))).toEqual({ values: { stack: "dev" }, app: "web", command });
  });

  it("has no other option before its app", () => {
    expect(() => readTask(["--stack", "dev", "--tty", "web"])).toThrow("Unknown option '--tty'");
  });
});

import { isDeepStrictEqual } from "node:util";

import { RESOURCES, TYPES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { deleteAccount, deleteLine } from "../edits.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { shell } from "../shell.ts";

interface User {
  name: string;
  uid: number;
  shell: string;
  password: boolean;
  groups: string[];
}

/** Checks that only root can log in, and only with a declared key. */
export function compareAccounts(state: State, inside: Inside): Finding[] {
  return [...users(inside), ...keys(state, inside)];
}

function users(inside: Inside): Finding[] {
  const { error, warning } = findingsBy("users", "host");
  return (json<User[]>(inside, "users") ?? []).flatMap(({ name, uid, shell: loginShell, password, groups }) => {
    const subject = `users.${name}`;
    const findings: Finding[] = [];
    if (uid === 0 && name !== "root") {
      // Not with userdel, because it would treat root's processes as this account's.
      const strike = { why: "delete the account's lines", command: deleteAccount(name) };
      findings.push(error(subject, undeclared("has root's user id 0, only root should"), strike));
    }
    if (uid >= 1000 && uid < 65534 && !/\/(nologin|false)$/.test(loginShell)) {
      findings.push(
        warning(subject, undeclared("can log in, only root should"), {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: shell`userdel --remove ${name}`,
        }),
      );
    }
    if (password) {
      findings.push(
        warning([subject, "password"], undeclared("has a password, no account should"), {
          why: "lock it",
          command: shell`passwd --lock ${name}`,
        }),
      );
    }
    for (const group of groups) {
      findings.push(
        warning([subject, "groups"], undeclared(`is a member of ${group}, which is as good as root`, group), {
          why: "remove it from the group",
          command: shell`gpasswd --delete ${name} ${group}`,
        }),
      );
    }
    return findings;
  });
}

/** Only the deploy key may be there: operators' keys are in another file, which the scripts maintain. */
function keys(state: State, inside: Inside): Finding[] {
  const { error, warning } = findingsBy("authorized_keys", "host");
  const deployKey = String(state.get(TYPES.key, RESOURCES.deployKey).outputs["publicKeyOpenssh"]);
  // Type and body: a comment proves nothing.
  const isDeployKey = (line: string) => isDeepStrictEqual(fields(line), fields(deployKey));
  const findings: Finding[] = [];
  let admitted = 0;
  for (const { path, content } of json<{ path: string; content: string }[]>(inside, "authorized_keys") ?? []) {
    content.split("\n").forEach((line, index) => {
      if (line.trim() === "" || line.trim().startsWith("#")) return;
      if (path.startsWith("/root/") && isDeployKey(line)) {
        admitted += 1;
        return;
      }
      const key = shortened(line);
      findings.push(
        error(`authorized_keys[${path}]`, undeclared(`unexpected line ${index + 1} "${key}"`, key), {
          why: "remove it, or declare it in operatorKeys",
          command: deleteLine(line, path),
        }),
      );
    });
  }
  if (admitted === 0) {
    findings.push(
      warning("authorized_keys[/root/.ssh/authorized_keys]", missing("the deploy key is not in it, it should be"), {
        why: "put it back; the key is that of npx pulumi stack output sshPrivateKey",
      }),
    );
  }
  return findings;
}

function fields(key: string): string[] {
  return key.trim().split(/\s+/).slice(0, 2);
}

/** Enough of a key to recognize it: its type and its comment. */
function shortened(key: string): string {
  return key.replace(/([A-Za-z0-9+/]{12})[A-Za-z0-9+/=]{20,}/, "$1…");
}

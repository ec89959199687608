import { deleteSetting } from "../edits.ts";
import { json, lines } from "../facts.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { RUN_POSTGRES } from "../repair.ts";
import { psql, psqlIn } from "./psql.ts";
import { shell } from "../shell.ts";

interface Setting {
  name: string;
  setting: string;
  sourcefile: string | null;
  sourceline: number | null;
  source: string;
  pending_restart: boolean;
  /** The file with the pending value. */
  pending_file: string | null;
}

interface HbaRule {
  file_name: string;
  line_number: number;
  line: string;
  error: string | null;
}

/** Files that the machine's scripts write; their check mode compares these. */
const OURS = /\/(postgresql\.conf|conf\.d\/10-convex-droplet\.conf|pg_hba\.conf|pg_hba\.d\/10-convex-droplet\.conf)$/;

/** Checks the settings and access rules that the server has read, and what makes it keep its log. */
export function compareServer(inside: Inside): Finding[] {
  return [...settings(inside), ...rules(inside), ...held(inside)];
}

function settings(inside: Inside): Finding[] {
  const { error, warning } = findingsBy("postgres.settings", "postgres");
  const findings = (json<Setting[]>(inside, "postgres.settings") ?? []).flatMap((setting) => {
    const where = ["postgres.settings", setting.name] as const;
    if (setting.pending_restart) {
      if (setting.pending_file === null || OURS.test(setting.pending_file)) {
        const message = "needs a restart of the server: some seconds without the backend";
        return [warning(where, { expected: "in force", found: "pending", message }, RUN_POSTGRES)];
      }
      // A restart would activate a value that nothing declares.
      return [
        error(
          where,
          undeclared(
            `will change at the next restart, by ${setting.pending_file}, it should not be set there`,
            setting.pending_file,
          ),
          {
            why: "undo it, and do not restart the server before",
            command: setting.pending_file.endsWith("postgresql.auto.conf")
              ? psql(`ALTER SYSTEM RESET ${setting.name}`, "SELECT pg_reload_conf()")
              : `${deleteSetting(setting.name, setting.pending_file)} && ${psql("SELECT pg_reload_conf()")}`,
          },
        ),
      ];
    }
    if (setting.sourcefile === null || OURS.test(setting.sourcefile)) return [];
    const place = `${setting.sourcefile}:${setting.sourceline ?? 0}`;
    const repair = setting.sourcefile.endsWith("postgresql.auto.conf")
      ? {
          why: "undo it",
          command: psql(`ALTER SYSTEM RESET ${setting.name}`, "SELECT pg_reload_conf()"),
        }
      : {
          why: "remove the line, then run the scripts again",
          command: deleteSetting(setting.name, setting.sourcefile),
        };
    const found = setting.setting;
    const declared = inside.differences.find(
      ({ subject, property }) => subject === where[0] && property === where[1],
    )?.expected;
    return [
      declared === undefined
        ? warning(where, undeclared(`is ${found} by ${place}, it should not be set there`, found), repair)
        : error(
            where,
            { expected: declared, found, message: `is ${found}, it should be ${declared}: it is set by ${place}` },
            repair,
          ),
    ];
  });
  for (const line of lines(inside, "postgres.role_settings")) {
    findings.push(
      findingsBy("postgres.role_settings", "postgres").warning(
        "postgres.role_settings",
        undeclared(`unexpected setting "${line}"`, line),
        {
          why: "undo it with ALTER ROLE … RESET or ALTER DATABASE … RESET",
        },
      ),
    );
  }
  const [loaded = "0", written = "0"] = (inside.facts.get("postgres.loaded")?.text ?? "").trim().split(/\s+/);
  if (Number(written) > Number(loaded)) {
    findings.push(
      findingsBy("postgres.loaded", "postgres").warning(
        ["postgres", "loaded"],
        {
          expected: "the current files",
          found: "earlier files",
          message: "the configuration files were changed after the server read them",
        },
        RUN_POSTGRES,
      ),
    );
  }
  return findings;
}

/** The rules as the server has parsed them. */
function rules(inside: Inside): Finding[] {
  const { error } = findingsBy("postgres.hba", "postgres");
  return (json<HbaRule[]>(inside, "postgres.hba") ?? []).flatMap((rule) => {
    const path = "postgres.pg_hba";
    if (rule.error !== null)
      return [
        error(
          path,
          {
            expected: "accepted",
            found: rule.error,
            message: `the server refuses line ${rule.line_number}: ${rule.error}`,
          },
          RUN_POSTGRES,
        ),
      ];
    if (OURS.test(rule.file_name)) return [];
    const text = rule.line.trim().replaceAll(/\s+/g, " ");
    return [
      // With the file, so that somebody can ignore a neighbour's one, and still hear of all others.
      error(`${path}[${rule.file_name}]`, undeclared(`unexpected line ${rule.line_number} "${text}"`, text), {
        why: "if nobody needs it, remove the file, then run the scripts again; or ignore it with driftIgnore",
        command: shell`rm ${rule.file_name}`,
      }),
    ];
  });
}

/** A slot or a transaction that nobody ends makes the server keep its log, until the volume is full. */
function held(inside: Inside): Finding[] {
  const { error } = findingsBy("postgres.held", "postgres");
  return lines(inside, "postgres.held").map((line) => {
    const [what = "", measure = "", statement = ""] = line.split("\t");
    const database = what.startsWith("replication") || what.startsWith("tablespace") ? undefined : measure;
    if (measure === "lost") {
      const message = `${what} is lost: what its consumer has not read yet took too much of the volume, so the server has dropped it`;
      const why = "drop it, and let the consumer start again with a new slot";
      const seen = { expected: "in use", found: "lost", message };
      return error("postgres.held", seen, { why, command: psqlIn(undefined, statement) });
    }
    const kept = what.startsWith("replication")
      ? `, it keeps ${measure === "" ? "nothing yet" : measure} of the log on the volume`
      : "";
    return error("postgres.held", undeclared(`unexpected ${what}${kept}, nothing declares it`, what), {
      why: "remove it if nobody needs it, or ignore it with driftIgnore",
      command: psqlIn(database, statement),
    });
  });
}

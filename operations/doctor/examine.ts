import { UnreachableError } from "../../ssh/connect.ts";
import { declaredBackend } from "../drift/expected.ts";
import { type Finding, inOrder } from "../drift/finding.ts";
import type { Inside } from "../drift/inside.ts";
import { compare, inspect } from "../drift/look.ts";
import { costsOf } from "../drift/repairs.ts";
import { repairText, upOf } from "../drift/report.ts";
import { State } from "../state.ts";
import { examineAnswers } from "./answers.ts";
import { examineApp } from "./app.ts";
import { examineDroplet } from "./droplet.ts";
import { type Ailment, ill, type Station, unknown, well } from "./station.ts";
import { pulumiCommand } from "../typed.ts";

/** What an examination gave. */
export interface Examination {
  stack: string;
  stations: Station[];
  /** How many more differences from what is declared there are, which stand in nobody's way. */
  elsewhere: number;
}

/**
 * Examines a stack station by station, from what all rests on to what rests on all: the first that is ill is where to
 * begin. Changes nothing. A stack whose first `up` failed half-way is examined as far as it got.
 *
 * @param app  folder of an app that uses the stack, where one is to be examined too
 * @throws Error when the stack's state cannot be read
 */
export async function examine(stack: string, app?: string): Promise<Examination> {
  const state = await State.read(stack);
  const inside = await inspect(state).catch((error: unknown) =>
    error instanceof Error ? error : new Error(String(error)),
  );
  const seen = inside instanceof Error ? undefined : inside;
  const answers = await examineAnswers(state, seen);
  const findings = seen === undefined ? [] : compare(state, seen);
  const stations = [
    await examineDroplet(state, inside),
    ...(inside instanceof Error ? notLookedAt(inside) : examineInside(state, inside, findings, answers)),
    answers,
    ...(app === undefined ? [] : [await examineApp(app, state, seen)]),
  ];
  const elsewhere = findings.filter(
    ({ path, severity }) => severity !== "notice" && !INNER.some(({ paths }) => paths.test(path)),
  );
  return { stack, stations, elsewhere: elsewhere.length };
}

interface Inner {
  name: string;
  well: string;
  /** Where the findings of this station stand. */
  paths: RegExp;
}

const NETWORK = /^(nft|iptables|routes|names|sysctl\.net)/;

const INNER: Inner[] = [
  { name: "network", well: "passes packets on, and finds names", paths: NETWORK },
  { name: "volume", well: "mounted, with room left", paths: /^(disk|volume|folders|units\.convex-volume)/ },
  { name: "PostgreSQL", well: "answers, and lets the backend's role in", paths: /^(postgres|units\.postgresql)/ },
  {
    name: "containers",
    well: "run as declared, on their network",
    paths: /^(docker|units\.docker|networks|containers(?!\..*\.(state|health)$))/,
  },
  {
    name: "backend",
    well: "serves, with the stack's secret, and takes its keys",
    paths: /^(backend|dashboard|functions|containers\..*\.(state|health)$)/,
  },
];

function notLookedAt(error: Error): Station[] {
  const why = error instanceof UnreachableError ? "could not be looked at" : error.message;
  return INNER.map(({ name }) => unknown(name, why));
}

/** What drift finds, where it stands in the way of the backend; the rest is drift's to tell. */
function examineInside(state: State, inside: Inside, findings: Finding[], answers: Station): Station[] {
  const serves = inside.facts.get("backend.version")?.exitCode === 0;
  // What is only unusual is a suspect as long as nothing works, or nothing gets here.
  const isSuspect = (path: string) =>
    !serves || path.startsWith("disk") || (answers.status === "ill" && NETWORK.test(path));
  const severe = inOrder(findings).filter(
    ({ path, severity }) => severity === "error" || (severity === "warning" && isSuspect(path)),
  );
  return INNER.map((inner): Station => {
    const own = severe.filter(({ path }) => inner.paths.test(path));
    const ailments = [
      ...(inner.name === "backend" ? explained(state.stack, inside) : []),
      ...grouped(state.stack, own),
    ];
    if (ailments.length > 0) return ill(inner.name, ailments);
    if (inner.name === "backend" && declaredBackend(state) === undefined) {
      return unknown(inner.name, `is not deployed yet: ${pulumiCommand(state.stack, "up")}`);
    }
    return well(inner.name, inner.well);
  });
}

/** All that one `up` cures is one ailment's cure. */
function grouped(stack: string, findings: Finding[]): Ailment[] {
  const up = upOf(findings);
  return findings.map(({ path, message, repair }) => ({
    symptom: `${path}: ${message}`,
    ...("up" in repair && up !== undefined
      ? { cure: repairText(stack, up), costs: costsOf(up) }
      : { cure: repairText(stack, repair) }),
  }));
}

/** What the backend's own log says of why it does not serve. */
function explained(stack: string, { facts }: Inside): Ailment[] {
  const text = facts.get("backend.symptoms")?.text ?? "";
  return [...text.matchAll(/^cause: (.*)\n +fix: (.*)$/gm)].map(([, cause = "", fix = ""]) => ({
    symptom: "the backend's log names it",
    cause,
    cure: fix.replaceAll("npx pulumi up", pulumiCommand(stack, "up")),
  }));
}

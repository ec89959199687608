import { type ResourceValidationPolicy, Secret } from "@pulumi/policy";

import { TYPES } from "../../contract/names.ts";
import { inputsOf, isKnown } from "../resource.ts";

/** Properties that contain nothing but a secret. */
const SECRET_PROPERTY = /^(password|token|privateKey\w*|caPrivateKey\w*|secretKey|spacesSecretKey)$/;

/** Texts that are a secret wherever they are, and what they are. */
const SHAPES: [RegExp, string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----/, "a private key"],
  [/\b[a-z][a-z0-9+.-]*:\/\/[^\s:@/]*:[^\s@/]+@/i, "a URL with a password"],
  [/\bdo[opr]_v1_[0-9a-f]{64}\b/, "a token of DigitalOcean"],
  [/\|01[0-9a-f]{72,}\b/, "an admin key"],
];

/** A container's variable with a secret. What a bundler puts into a page is public. */
const SECRET_VARIABLE = /^(?!NEXT_PUBLIC_|VITE_)\w*(SECRET|PASSWORD|PRIVATE_KEY|TOKEN)\w*=./;

/** What a command runs: everybody on the machine sees it in the list of processes, also if it is encrypted in the state. */
const COMMAND_LINES = ["create", "update", "delete"];
const COMMANDS = [TYPES.command, "command:local:Command"] as const;

/** What was found in a resource, until it is reported: by URN. */
const found = new Map<string, string[]>();

/**
 * The engine calls `remediateResource` first, and only there `@pulumi/policy` tells a secret from a text in clear. It changes nothing,
 * because only the program can tell what else the value is in. Then `validateResource` reports, as mandatory.
 */
export const noSecretInClear: ResourceValidationPolicy = {
  name: "no-secret-in-clear",
  description: "A secret is encrypted in the state, and on no command line.",
  enforcementLevel: "remediate",
  remediateResource: (args) => {
    const inputs = inputsOf(args);
    const faults = [
      ...textsInClear(inputs).flatMap(({ path, text }) => {
        const what = secretIn(args.type, path, text);
        const fix =
          "it should be marked as a secret. Make it with pulumi.secret(…), and never with pulumi.unsecret(…).";
        return what === undefined ? [] : [`${args.name}: ${path} has ${what} in clear, ${fix}`];
      }),
      ...(COMMANDS.some((type) => type === args.type) ? COMMAND_LINES : [])
        .filter((key) => inputs[key] instanceof Secret)
        .map((key) => `${args.name}: ${key} has a secret on a command line, it should have none. Pass it on stdin.`),
    ];
    if (faults.length > 0) found.set(args.urn, faults);
  },
  validateResource: ({ urn }, reportViolation) => {
    for (const fault of found.get(urn) ?? []) reportViolation(fault);
    found.delete(urn);
  },
};

function secretIn(type: string, path: string, text: string): string | undefined {
  const property = /\w+$/.exec(path)?.[0] ?? "";
  if (SECRET_PROPERTY.test(property) && text !== "") return "a secret";
  if (type === TYPES.container && path.startsWith("envs[") && SECRET_VARIABLE.test(text)) return "a secret";
  return SHAPES.find(([shape]) => shape.test(text))?.[1];
}

/** All texts of a value that are known and in no secret, with their paths. */
function textsInClear(value: unknown, path = ""): { path: string; text: string }[] {
  if (typeof value === "string") return isKnown(value) ? [{ path, text: value }] : [];
  if (Array.isArray(value)) return value.flatMap((item, index) => textsInClear(item, `${path}[${index}]`));
  // Neither secrets nor assets.
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return [];
  return Object.entries(value).flatMap(([key, item]) => textsInClear(item, path === "" ? key : `${path}.${key}`));
}

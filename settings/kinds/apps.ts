import { posix } from "node:path";

import { CONTAINERS } from "../../contract/names.ts";
import { type Fault, quoted, type Reader } from "../reader.ts";
import { refusedName, variablesIn } from "./environment.ts";
import { pinnedFault } from "./images.ts";
import { Options, textOf } from "./options.ts";
import { pathFault, type ProbeOptions, readProbe } from "./probes.ts";
import { onThisStack } from "../on-this-stack.ts";

/** What the options of a container say by themselves, of an app or a job. References are checked with the rest of the stack. */
export interface ContainerOptions {
  name: string;
  image: string;
  command: string[];
  variables: Record<string, string>;
  /** References by the variable that gets their value. */
  references: Record<string, string>;
  memoryMb: number;
  cpus: string | undefined;
  /** Folders on the volume: name, and path in the container. */
  folders: Record<string, string>;
  folderOwner: string;
  /** Others of the same kind. */
  dependsOn: string[];
}

/** The options of an app. Its hosts are checked with the rest of the stack, too. */
export interface AppOptions extends ContainerOptions {
  port: number | undefined;
  hosts: string[];
  healthPath: string | undefined;
  healthCommand: string | undefined;
  healthSeconds: number;
  /** Whether the version before ends first, because two cannot run side by side. */
  stopFirst: boolean;
  /** In the order of their names. */
  probes: ProbeOptions[];
}

/** What both apps and jobs have. */
export const CONTAINER_OPTIONS = [
  ...["image", "command", "variables", "references", "memoryMb", "cpus", "folders", "folderOwner", "dependsOn"],
];
const OPTIONS = [
  ...CONTAINER_OPTIONS,
  "port",
  "hosts",
  "healthPath",
  "healthCommand",
  "healthSeconds",
  "stopFirst",
  "needs",
  "probes",
];

/** Names by which the containers' network knows something else already. */
const TAKEN = ["backend", "dashboard", "localhost", ...Object.values(CONTAINERS)];

/** An app, from its options. */
export function readApp(read: Reader, path: string, name: string, value: unknown): AppOptions {
  read.refuse(path, nameFault(name, "an app") ?? takenFault(name));
  const options = new Options(read, path, value, OPTIONS, "an app");
  if (options.isMap && !options.has("image"))
    options.refuse("image", { sentence: "is missing, it should be the app's image.", fix: pinned(path) });
  const app = {
    ...readContainer(read, options, name, "apps"),
    port: options.integer("port", 1, 65535),
    hosts: options.list("hosts", () => undefined, "host names"),
    healthPath: options.text("healthPath", pathFault),
    healthCommand: options.text("healthCommand", commandFault),
    healthSeconds: options.integer("healthSeconds", 1, 900) ?? 60,
    stopFirst: options.flag("stopFirst"),
    probes: probesOf(read, options),
  };
  refuseContradictions(options, app);
  refuseMissing(options, app);
  return app;
}

/** What apps and jobs have in common, from their options. */
export function readContainer(read: Reader, options: Options, name: string, others: string): ContainerOptions {
  const container = {
    name,
    image: options.text("image", (text) => credentialsFault(text) ?? pinnedFault(text, pinned(options.path))) ?? "",
    command: options.list("command", () => undefined, "words"),
    variables: variablesIn(
      read,
      options.at("variables"),
      options.map("variables", "variable names to texts"),
      refusedVariable,
    ),
    references: referencesOf(options),
    memoryMb: options.integer("memoryMb", 16, 1_048_576) ?? 512,
    cpus: options.text("cpus", cpusFault),
    folders: foldersOf(options),
    folderOwner: options.text("folderOwner", ownerFault) ?? "0:0",
    dependsOn: options.list("dependsOn", () => undefined, `names of ${others}`),
  };
  refuseContradictionsOfContainer(options, container);
  const { folderOwner: owner } = container;
  // Docker reads a user without a group as one with the group 0.
  return { ...container, folderOwner: owner.includes(":") ? owner : `${owner}:${owner}` };
}

/** How to set a pinned image. */
export function pinned(path: string): string {
  return `Set it with: ${onThisStack("config set", `--path ${quoted(`${path}.image`)} REPOSITORY@sha256:DIGEST`)}, which docker pull prints`;
}

/** Never shows the value, because it may be a secret. */
function credentialsFault(text: string): Fault | undefined {
  if (!/^[^/@]*@(?!sha256:)|:[^/@]*@(?!sha256:)/.test(text)) return undefined;
  return {
    sentence: "has credentials in it, it should name only the image, because Docker and the state show it to many.",
    fix: `Remove them, and set them with: ${onThisStack("config set", `--path --secret 'registries["REGISTRY"].password'`)}`,
  };
}

/** What is wrong with the name of an app or a job, which is also a part of names at Docker and of paths. */
export function nameFault(name: string, what: string): Fault | undefined {
  return /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name)
    ? undefined
    : {
        sentence: `is not a name for ${what}, it should have up to 32 lower-case letters, digits and -, a letter first.`,
        fix: "Rename it.",
      };
}

function takenFault(name: string): Fault | undefined {
  return TAKEN.includes(name)
    ? { sentence: "is a name that the containers' network has already, it should be another.", fix: "Rename it." }
    : undefined;
}

/** An empty variable is not the same as none: many programs take it for a value. */
function refusedVariable(name: string, value: string): Fault | undefined {
  return value === ""
    ? { sentence: "is empty, it should have a value or be absent.", fix: `Set ${name}, or remove it.` }
    : undefined;
}

function probesOf(read: Reader, options: Options): ProbeOptions[] {
  const given = Object.entries(options.map("probes", "names of probes to their options"));
  return given
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => {
      options.refuse(`probes.${name}`, nameFault(name, "a probe"));
      return readProbe(read, options.at(`probes.${name}`), name, value);
    });
}

function referencesOf(options: Options): Record<string, string> {
  const found = Object.entries(options.map("references", "variable names to references"));
  for (const [name] of found) options.refuse(`references.${name}`, refusedName(name));
  return Object.fromEntries(found.map(([name, text]) => [name, textOf(text)]));
}

function commandFault(text: string): Fault | undefined {
  return text.trim() === ""
    ? { sentence: "is empty, it should be a command for the image's shell.", fix: "Set it, or remove it." }
    : undefined;
}

function cpusFault(text: string): Fault | undefined {
  const isNumber = /^\d+(\.\d{1,2})?$/.test(text);
  return isNumber && Number(text) >= 0.01 && Number(text) <= 256
    ? undefined
    : { sentence: `"${text}" is not a share of processors, it should be a number such as 0.5.`, value: "0.5" };
}

function ownerFault(text: string): Fault | undefined {
  return /^\d{1,9}(:\d{1,9})?$/.test(text)
    ? undefined
    : {
        sentence: `"${text}" is not a user id, it should be a number such as 1000, or user and group such as 1000:1000, because the droplet does not know the image's names.`,
        value: "1000",
      };
}

function foldersOf(options: Options): Record<string, string> {
  const found = Object.entries(options.map("folders", "names of folders to paths in the container"));
  const folders = found.map(([name, value]) => [name, textOf(value)] as const);
  folders.forEach(([name, place], index) => {
    const fault = folderFault(name, place);
    const same = folders.slice(0, index).find(([, other]) => other === place);
    options.refuse(
      `folders.${name}`,
      fault ??
        (same && {
          sentence: `"${place}" is also the path of folder ${same[0]}, it should be another.`,
          fix: "Change one of them.",
        }),
    );
  });
  return Object.fromEntries(folders);
}

function folderFault(name: string, place: string): Fault | undefined {
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) {
    return {
      sentence: "is not a name for a folder, it should have up to 63 lower-case letters, digits, - and _.",
      fix: "Rename it.",
    };
  }
  // Docker reads other spellings as the same path, also as the whole container.
  const plain = posix.normalize(place).replace(/\/$/, "");
  const isRight = (path: string) => /^\/[^:\n]*[^:/\n]$/.test(path) && !/^\/proc(\/|$)/.test(path);
  if (plain === place && isRight(place)) return undefined;
  const value = isRight(plain) ? plain : "/data";
  return {
    sentence: `"${place}" is not a place for a folder, it should be a path in the container such as ${value}.`,
    value,
  };
}

/** Options that make no sense together. */
function refuseContradictionsOfContainer(options: Options, { variables, references, folders }: ContainerOptions): void {
  for (const name of Object.keys(references).filter((variable) => Object.hasOwn(variables, variable))) {
    options.refuse(`references.${name}`, {
      sentence: "is also in variables, it should be in one of them.",
      fix: `Remove one with: ${onThisStack("config rm", `--path ${quoted(options.at(`variables.${name}`))}`)}`,
    });
  }
  if (Object.keys(folders).length === 0 && options.has("folderOwner")) {
    options.refuse("folderOwner", {
      sentence: "has no effect without folders, it should come with them.",
      fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(options.at("folderOwner"))}`)}`,
    });
  }
}

function refuseContradictions(options: Options, app: AppOptions): void {
  const setPort = `Set it with: ${onThisStack("config set", `--path ${quoted(options.at("port"))} 3000`)}`;
  if (app.healthPath !== undefined && app.healthCommand !== undefined) {
    options.refuse("healthCommand", {
      sentence: "is set beside healthPath, it should be alone.",
      fix: `Remove one with: ${onThisStack("config rm", `--path ${quoted(options.at("healthPath"))}`)}`,
    });
  }
  if (app.port === undefined && app.healthPath !== undefined) {
    options.refuse("healthPath", { sentence: "has no port to ask, it should come with one.", fix: setPort });
  }
  if (app.port === undefined && app.probes.length > 0) {
    options.refuse("probes", { sentence: "has no port to ask, it should come with one.", fix: setPort });
  }
  if (app.port === undefined && app.hosts.length > 0) {
    options.refuse("hosts", { sentence: "has no port to lead to, it should come with one.", fix: setPort });
  }
}

/** Variables that the app cannot do without, each with the reason, so that a stack's file can ask for those that nobody can derive. */
function refuseMissing(options: Options, { variables, references }: AppOptions): void {
  for (const [name, reason] of Object.entries(options.map("needs", "variable names to what they are for"))) {
    const variable = options.at(`variables.${name}`);
    if (typeof reason !== "string" || reason.trim() === "") {
      options.refuse(`needs.${name}`, {
        sentence: "is not a reason, it should be a text that says what the variable is for.",
        fix: `Set it with: ${onThisStack("config set", `--path --type string ${quoted(options.at(`needs.${name}`))} REASON`)}`,
      });
    } else if (refusedName(name) !== undefined) {
      options.refuse(`needs.${name}`, refusedName(name));
    } else if (![variables, references].some((given) => Object.hasOwn(given, name))) {
      options.refuse(`variables.${name}`, {
        sentence: `is missing, it should be there: ${reason.trim().replace(/\.$/, "")}.`,
        fix: `Set it with: ${onThisStack("config set", `--path --secret ${variable}`)}, or refer to a value of the stack with: ${onThisStack("config set", `--path ${options.at(`references.${name}`)} REFERENCE`)}`,
      });
    }
  }
}

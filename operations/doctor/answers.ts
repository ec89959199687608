import { declaredBackend } from "../findings/expected.ts";
import type { Inside } from "../findings/inside.ts";
import type { State } from "../state.ts";
import { type Problem, unhealthy, type Check, unknown, healthy } from "./check.ts";
import { npmCommand, pulumiCommand } from "../typed.ts";
import { CONTAINERS, PORTS } from "../../contract/names.ts";

/** A path that nobody serves, so that everybody who answers does so in a way of their own. As machine/facts.sh asks for it. */
const NOWHERE = "/.well-known/convex-droplet";

/**
 * Whether those who answer under the URLs that apps are given are this stack's backend: its API, its HTTP actions, and the
 * WebSocket by which apps are kept up to date; from here, and of the HTTP actions from the backend itself, too.
 *
 * @param inside  how they answer on the droplet, where that could be looked at
 */
export async function examineAnswers(state: State, inside?: Inside): Promise<Check> {
  const name = "from here";
  const backend = declaredBackend(state);
  if (backend === undefined) return unknown(name, "there is no backend to ask yet");
  const origin = (variable: string) => backend.variables.get(variable) ?? "";
  const [api, site] = [origin("CONVEX_CLOUD_ORIGIN"), origin("CONVEX_SITE_ORIGIN")];
  const instance = origin("INSTANCE_NAME");
  const told = (fact: string) => (inside?.facts.get(fact)?.text ?? "").trim();
  const wanted = {
    api: `port ${backend.port(PORTS.api) ?? PORTS.api}`,
    site: `port ${backend.port(PORTS.site) ?? PORTS.site}`,
  };
  const [cloud, actions] = await Promise.all([
    examineApi(api, instance, wanted.api, told("backend.nowhere"), state.stack),
    examineSite(site, instance, wanted.site, told("backend.nowhere"), state.stack),
  ]);
  // Of an API that does not answer as it should, a socket tells nothing more.
  const sync = cloud.length === 0 && told("backend.sync") === "101" ? await examineSync(api) : [];
  const ailments = [...cloud, ...actions, ...sync];
  if (inside?.facts.get("backend.version")?.exitCode === 0) {
    ailments.push(...fromInside(site, told("backend.nowhere_inside"), told("backend.nowhere"), state.stack));
  }
  return ailments.length > 0 ? unhealthy(name, ailments) : healthy(name, `${api} and ${site} answer as they should`);
}

async function examineApi(
  origin: string,
  instance: string,
  port: string,
  siteAnswer: string,
  stack: string,
): Promise<Problem[]> {
  const url = `${origin}/instance_name`;
  const answer = await ask(url, stack);
  if ("symptom" in answer) return [answer];
  const { status, text, kind } = answer;
  if (status === 200 && text === instance) return [];
  const cure = `lead ${origin} to the droplet's ${port}, and its requests on as they are`;
  if (status === 200 && /^[\w-]{1,100}$/.test(text)) {
    return [{ symptom: `${url} says ${text}, it should say ${instance}`, cause: "another instance answers", cure }];
  }
  const cause =
    status !== 200 && `${status} ${kind}`.trim() === siteAnswer
      ? "it leads to the HTTP actions, or to something else that has no such page"
      : "a proxy or a login page answers by itself, and not the backend";
  return [{ symptom: `${url} answers with ${status} ${kind}, it should say ${instance}`, cause, cure }];
}

async function examineSite(
  origin: string,
  instance: string,
  port: string,
  siteAnswer: string,
  stack: string,
): Promise<Problem[]> {
  const cure = `lead ${origin} to the droplet's ${port}, and its requests on as they are`;
  const named = await ask(`${origin}/instance_name`, stack);
  if (!("symptom" in named) && named.status === 200 && named.text === instance) {
    return [
      { symptom: `${origin} answers as the API does, it should as HTTP actions`, cause: "it leads to the API", cure },
    ];
  }
  const url = `${origin}${NOWHERE}`;
  const answer = await ask(url, stack);
  if ("symptom" in answer) return [answer];
  const found = `${answer.status} ${answer.kind}`.trim();
  // What the app's own actions answer is compared with, and a droplet that could not be looked at tells nothing.
  if (siteAnswer === "" || siteAnswer.startsWith("000") || found === siteAnswer) return [];
  const cause = "something else answers: a proxy or a login page by itself, or another instance";
  return [{ symptom: `${url} answers with ${found}, on the droplet with ${siteAnswer}`, cause, cure }];
}

/** Of a release that every backend of today knows. */
async function examineSync(origin: string): Promise<Problem[]> {
  const url = `${origin.replace(/^http/, "ws")}/api/1.31.0/sync`;
  const socket = new WebSocket(url);
  const isOpen = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => {
      resolve(false);
    }, 10_000);
    const end = (opened: boolean) => () => {
      clearTimeout(timer);
      resolve(opened);
    };
    socket.addEventListener("open", end(true));
    socket.addEventListener("error", end(false));
  });
  socket.close();
  if (isOpen) return [];
  return [
    {
      symptom: `${url} is not opened as a WebSocket, on the droplet it is`,
      cause: "what stands before the backend passes none on; apps get no updates",
      cure: 'let it pass on the headers Upgrade and Connection; of nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
    },
  ];
}

/** The backend asks itself for its own discovery document when somebody signs in. */
function fromInside(origin: string, found: string, expected: string, stack: string): Problem[] {
  if (found === "" || expected === "" || found === expected) return [];
  const { hostname, port } = new URL(origin);
  const how = found.startsWith("000") ? "does not answer" : `answers with ${found}`;
  const cause = "sign-in discovery fails: the backend looks there for its own keys";
  const symptom = `${origin} ${how} inside the backend's container, on the droplet it answers with ${expected}`;
  if (hostname === "127.0.0.1" && port !== String(PORTS.site)) {
    return [
      {
        symptom,
        cause: `${cause}, and inside the container they are at port ${PORTS.site}`,
        cure: `${pulumiCommand(stack, "config set", `sitePort ${PORTS.site}`)} && ${pulumiCommand(stack, "up")}`,
      },
    ];
  }
  const command = `docker exec ${CONTAINERS.backend} curl -v ${origin}${NOWHERE}`;
  return [
    {
      symptom,
      cause,
      cure: `give siteOrigin a URL that leads there from the droplet, too; see: ${npmCommand(stack, "ssh", `'${command}'`)}`,
    },
  ];
}

interface Answer {
  status: number;
  /** Of its content. */
  kind: string;
  text: string;
}

async function ask(url: string, stack: string): Promise<Answer | Problem> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: "manual" });
    const { status, headers } = response;
    if (status >= 500) {
      return {
        symptom: `${url} answers with ${status}`,
        cure: "look at what stands before the backend, a proxy's log",
      };
    }
    if (status >= 300 && status < 400) {
      const symptom = `${url} leads on to ${headers.get("location") ?? "somewhere else"}`;
      const cause = "a proxy or a login page answers by itself; apps do not follow it";
      return {
        symptom,
        cause,
        cure: "give the stack the URL that answers itself, or have requests passed on as they are",
      };
    }
    return { status, kind: headers.get("content-type") ?? "", text: (await response.text()).trim() };
  } catch (error) {
    return { symptom: `${url} does not answer (${reasonOf(error)})`, ...explain(url, stack) };
  }
}

function explain(url: string, stack: string): Pick<Problem, "cause" | "cure"> {
  if (new URL(url).hostname === "127.0.0.1") {
    return { cause: "it is reached through a tunnel, and none is open", cure: npmCommand(stack, "tunnel") };
  }
  return {
    cause:
      "where all before this is well: this computer is in none of allowedCidrs, the name leads elsewhere, or the firewall was changed",
    cure: `see what ${npmCommand(stack, "drift")} says of cloud.convex-firewall; networks are added with: ${pulumiCommand(stack, "config set", "--path 'allowedCidrs[0]' NETWORK")}`,
  };
}

/** Node tells the reason of a failed fetch one level below. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

import { declaredBackend, declaredEdge } from "../findings/expected.ts";
import type { Inside } from "../findings/inside.ts";
import type { State } from "../state.ts";
import { type Asked, explain, leadsAstray } from "./unreachable.ts";
import { examineUploads } from "./uploads.ts";
import { type Problem, unhealthy, type Check, unknown, healthy } from "./check.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";
import { CONTAINERS, PORTS } from "../../contract/names.ts";

/** A path that nothing serves: its answer shows who answers. machine/convex/facts.sh requests the same path. */
const NOWHERE = "/.well-known/convex-droplet";

/**
 * Checks that this stack's backend answers at the URLs that apps get: its API, its HTTP actions, and the WebSocket that
 * sends updates to apps; and that nothing before it refuses large uploads. It checks them from this computer, and the HTTP
 * actions also from the backend itself.
 *
 * @param inside  the answers on the droplet, if the droplet could be checked
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
  const asked = { stack: state.stack, edge: declaredEdge(state) };
  const [cloud, actions] = await Promise.all([
    examineApi(api, instance, wanted.api, told("backend.nowhere"), asked),
    examineSite(site, instance, wanted.site, told("backend.nowhere"), asked),
  ]);
  // If the API does not answer correctly, a test of the WebSocket or of uploads adds nothing.
  const isDirect = api.startsWith("http:") && new URL(api).port === String(backend.port(PORTS.api));
  const [sync, uploads] = await Promise.all([
    cloud.length === 0 && told("backend.sync") === "101" ? examineSync(api) : [],
    cloud.length === 0 && !isDirect ? examineUploads(api) : [],
  ]);
  const ailments = [...cloud, ...actions, ...sync, ...uploads];
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
  asked: Asked,
): Promise<Problem[]> {
  const url = `${origin}/instance_name`;
  const answer = await ask(url, asked);
  if ("symptom" in answer) return [answer];
  const { status, text, kind } = answer;
  if (status === 200 && text === instance) return [];
  const astray = await leadsAstray(new URL(origin).hostname, asked);
  const cure = `route ${origin} to the droplet's ${port}, and forward requests unchanged`;
  if (status === 200 && /^[\w-]{1,100}$/.test(text)) {
    const symptom = `${url} says ${text}, it should say ${instance}`;
    return [{ symptom, ...(astray ?? { cause: "another instance answers", cure }) }];
  }
  const cause =
    status !== 200 && `${status} ${kind}`.trim() === siteAnswer
      ? "it leads to the HTTP actions, or to something else without this page"
      : "a proxy or a login page answers instead of the backend";
  const symptom = `${url} answers with ${status} ${kind}, it should say ${instance}`;
  return [{ symptom, ...(astray ?? { cause, cure }) }];
}

async function examineSite(
  origin: string,
  instance: string,
  port: string,
  siteAnswer: string,
  asked: Asked,
): Promise<Problem[]> {
  const cure = `route ${origin} to the droplet's ${port}, and forward requests unchanged`;
  const named = await ask(`${origin}/instance_name`, asked);
  if (!("symptom" in named) && named.status === 200 && named.text === instance) {
    return [
      { symptom: `${origin} answers as the API, it should be the HTTP actions`, cause: "it leads to the API", cure },
    ];
  }
  const url = `${origin}${NOWHERE}`;
  const answer = await ask(url, asked);
  if ("symptom" in answer) return [answer];
  const found = `${answer.status} ${answer.kind}`.trim();
  // The app's own actions may answer this path, so it is compared with the droplet's answer, if that is known.
  if (siteAnswer === "" || siteAnswer.startsWith("000") || found === siteAnswer) return [];
  const cause = "something else answers: a proxy, a login page, or another instance";
  const symptom = `${url} answers with ${found}, on the droplet with ${siteAnswer}`;
  return [{ symptom, ...((await leadsAstray(new URL(origin).hostname, asked)) ?? { cause, cure }) }];
}

/** The path names a release that every current backend knows. */
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
      symptom: `${url} does not open as a WebSocket, but it does on the droplet`,
      cause: "the proxy before the backend does not forward WebSockets, so apps get no updates",
      cure: 'let the proxy forward the headers Upgrade and Connection; for nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
    },
  ];
}

/** When somebody signs in, the backend requests its own discovery document from its own URL. */
function fromInside(origin: string, found: string, expected: string, stack: string): Problem[] {
  if (found === "" || expected === "" || found === expected) return [];
  const { hostname, port } = new URL(origin);
  const how = found.startsWith("000") ? "does not answer" : `answers with ${found}`;
  const cause = "sign-in discovery fails, because the backend gets its own keys from this URL";
  const symptom = `${origin} ${how} inside the backend's container, on the droplet it answers with ${expected}`;
  if (hostname === "127.0.0.1" && port !== String(PORTS.site)) {
    return [
      {
        symptom,
        cause: `${cause}, and inside the container it serves them at port ${PORTS.site}`,
        cure: `${pulumiCommand(stack, "config set", `sitePort ${PORTS.site}`)} && ${pulumiCommand(stack, "up")}`,
      },
    ];
  }
  const command = `docker exec ${CONTAINERS.backend} curl -v ${origin}${NOWHERE}`;
  return [
    {
      symptom,
      cause,
      cure: `set siteOrigin to a URL that also works from the droplet; to see the answer: ${npmCommand(stack, "ssh", `'${command}'`)}`,
    },
  ];
}

interface Answer {
  status: number;
  /** The content type. */
  kind: string;
  text: string;
}

async function ask(url: string, asked: Asked): Promise<Answer | Problem> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: "manual" });
    const { status, headers } = response;
    if (status >= 500) return unavailable(url, status, await response.text());
    if (status >= 300 && status < 400) {
      const symptom = `${url} redirects to ${headers.get("location") ?? "somewhere else"}`;
      const cause = "a proxy or a login page answers; apps do not follow the redirect";
      return {
        symptom,
        cause,
        cure: "configure the stack with a URL that answers without a redirect, or let the proxy forward requests unchanged",
      };
    }
    return { status, kind: headers.get("content-type") ?? "", text: (await response.text()).trim() };
  } catch (error) {
    return { symptom: `${url} does not answer (${reasonOf(error)})`, ...(await explain(url, error, asked)) };
  }
}

/** An answer that is not the backend's. machine/edge/sites.sh has nginx's own text. */
function unavailable(url: string, status: number, text: string): Problem {
  const symptom = `${url} answers with ${status}`;
  if (status === 503 && text.startsWith("The backend does not answer.")) {
    return {
      symptom,
      cause: "nginx on the droplet gets no answer from the backend, which may be restarting",
      cure: "wait some seconds, and run this again; if it stays, fix the checks before this one",
    };
  }
  const cure = "check the log of the proxy before the backend";
  if (status !== 502 && status !== 504) return { symptom, cure };
  return { symptom, cause: "a proxy before the droplet gets no answer from it", cure };
}

/** Node puts the reason of a failed fetch into the error's cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

import { declaredBackend } from "../drift/expected.ts";
import type { State } from "../state.ts";
import { type Ailment, ill, type Station, unknown, well } from "./station.ts";

/** Whether API and HTTP actions answer this computer, under the URLs that apps are given. */
export async function examineAnswers(state: State): Promise<Station> {
  const name = "from here";
  const variables = declaredBackend(state)?.variables;
  if (variables === undefined) return unknown(name, "there is no backend to ask yet");
  const urls = [
    `${variables.get("CONVEX_CLOUD_ORIGIN") ?? ""}/version`,
    `${variables.get("CONVEX_SITE_ORIGIN") ?? ""}/`,
  ];
  const ailments = (await Promise.all(urls.map((url) => ask(url, state.stack)))).flat();
  return ailments.length > 0 ? ill(name, ailments) : well(name, `${urls.join(" and ")} answer`);
}

/** Any answer but a proxy's complaint is one. */
async function ask(url: string, stack: string): Promise<Ailment[]> {
  try {
    const { status } = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: "manual" });
    if (status < 500) return [];
    return [
      { symptom: `${url} answers with ${status}`, cure: "look at what stands before the backend, a proxy's log" },
    ];
  } catch (error) {
    return [{ symptom: `${url} does not answer (${reasonOf(error)})`, ...explain(url, stack) }];
  }
}

function explain(url: string, stack: string): Pick<Ailment, "cause" | "cure"> {
  if (new URL(url).hostname === "127.0.0.1") {
    return { cause: "it is reached through a tunnel, and none is open", cure: `npm run tunnel -- --stack ${stack}` };
  }
  return {
    cause:
      "where all before this is well: this computer is in none of allowedCidrs, the name leads elsewhere, or the firewall was changed",
    cure: `see what npm run drift -- --stack ${stack} says of cloud.convex-firewall; networks are added with: pulumi config set --stack ${stack} --path 'allowedCidrs[0]' NETWORK`,
  };
}

/** Node tells the reason of a failed fetch one level below. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

import { pulumiCommand } from "../contract/commands.ts";
import { appOf, ID, TYPES } from "../contract/names.ts";
import type { State } from "./state.ts";

/** The containers of a stack's apps, as Docker knows them, by app: each of the version that was deployed last. */
export function appContainers(state: State): Map<string, string> {
  const names = state.all(TYPES.container).map(({ inputs }) => String(inputs["name"]));
  return new Map(
    names.flatMap((name): [string, string][] => {
      const app = appOf(ID, name);
      return app === undefined ? [] : [[app, name]];
    }),
  );
}

/**
 * The container of one app.
 *
 * @throws Error if the stack has no such app; the message lists those that it has
 */
export function appContainer(state: State, app: string): string {
  const containers = appContainers(state);
  const container = containers.get(app);
  if (container !== undefined) return container;
  const names = [...containers.keys()];
  throw new Error(
    names.length === 0
      ? `${app}: is not an app of stack ${state.stack}, which has none. Add it with: ${pulumiCommand(state.stack, "config set", `--path apps.${app}.image IMAGE`)}, then: ${pulumiCommand(state.stack, "up")}`
      : `${app}: is not an app of stack ${state.stack}, it should be one of ${names.join(", ")}.`,
  );
}

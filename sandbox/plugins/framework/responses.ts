import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import type { Change, Failure } from "./definition.ts";
import { topLevel } from "./diff.ts";
import { marshal } from "./values.ts";
import type { PropertyBag } from "./values.ts";

export function checkResponse({ inputs, failures }: { inputs: PropertyBag; failures: Failure[] }): pb.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(marshal(inputs));
  response.setFailuresList(failures.map(checkFailure));
  return response;
}

export function checkFailure({ property, reason }: Failure): pb.CheckFailure {
  const failure = new messages.CheckFailure();
  failure.setProperty(property);
  failure.setReason(reason);
  return failure;
}

/**
 * `ofInputs`: the changes are between old and new inputs, not between the state and new inputs. `detailed`: include more
 * than the names of the properties.
 */
export function diffResponse(
  changes: Change[],
  deleteFirst: boolean,
  { ofInputs, detailed }: { ofInputs: boolean; detailed: boolean },
): pb.DiffResponse {
  const { Kind } = messages.PropertyDiff;
  const kinds = {
    add: [Kind.ADD, Kind.ADD_REPLACE],
    delete: [Kind.DELETE, Kind.DELETE_REPLACE],
    update: [Kind.UPDATE, Kind.UPDATE_REPLACE],
  } as const;
  const response = new messages.DiffResponse();
  const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
  response.setChanges(changes.length > 0 ? DIFF_SOME : DIFF_NONE);
  for (const { path, kind, replaces } of detailed ? changes : []) {
    const detail = new messages.PropertyDiff();
    detail.setKind(kinds[kind][replaces ? 1 : 0]);
    detail.setInputdiff(ofInputs);
    response.getDetaileddiffMap().set(path, detail);
  }
  response.setHasdetaileddiff(detailed);
  const replacing = changes.filter(({ replaces }) => replaces);
  response.setDiffsList(namesIn(changes));
  response.setReplacesList(namesIn(replacing));
  response.setDeletebeforereplace(replacing.length > 0 && deleteFirst);
  return response;
}

function namesIn(changes: Change[]): string[] {
  return [...new Set(changes.map(({ path }) => topLevel(path)))].toSorted();
}

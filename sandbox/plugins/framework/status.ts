import grpc from "@grpc/grpc-js";
import type { StatusObject } from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import anyMessages from "google-protobuf/google/protobuf/any_pb.js";
import { ContextError, messageOf } from "./errors.ts";
import type { InitError } from "./errors.ts";
import { marshal } from "./values.ts";

/** The engine's form of an error that leaves no resource. */
export function plainErrorStatus(error: unknown): Partial<StatusObject> {
  return { code: codeOf(error), details: messageOf(error) };
}

function codeOf(error: unknown): grpc.status {
  if (!(error instanceof ContextError)) return grpc.status.UNKNOWN;
  return error.reason === "cancelled" ? grpc.status.CANCELLED : grpc.status.DEADLINE_EXCEEDED;
}

/** The engine's form of an error about a resource that exists but is not ready: gRPC's rich error, in a trailer. */
export function initErrorStatus(error: InitError): Partial<StatusObject> {
  const detail = new messages.ErrorResourceInitFailed();
  detail.setId(error.id);
  detail.setProperties(marshal(error.outputs));
  detail.setReasonsList([error.message]);
  const packed = new anyMessages.Any();
  packed.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new statusMessages.Status();
  status.setCode(grpc.status.UNKNOWN);
  status.setMessage(error.message);
  status.setDetailsList([packed]);
  const metadata = new grpc.Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return { code: grpc.status.UNKNOWN, details: error.message, metadata };
}

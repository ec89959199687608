import { expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { compareCertificate } from "../../operations/findings/postgres/certificate.ts";
import { stateOf, told } from "./findings.ts";

/** Valid until 2031-11-26T12:49:31Z. */
const CERTIFICATE = [
  "-----BEGIN CERTIFICATE-----",
  "MIIBcjCCARmgAwIBAgIUAsr7gT8NtRpD0R43/tqc9oPTr8YwCgYIKoZIzj0EAwIw",
  "DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjYxMjQ5MzFaFw0zMTExMjYxMjQ5MzFa",
  "MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARwCfq0",
  "yBNLIoTF0Md+beeGC1P1tyRK8XxC4Au2yWOtSWKUbOtLljSiWFc/jKbWZtBwE0sZ",
  "GwhmWyVRdBSqZ0t/o1MwUTAdBgNVHQ4EFgQUR4jYWMzSVdiyxo5pVGjlk/F/8YIw",
  "HwYDVR0jBBgwFoAUR4jYWMzSVdiyxo5pVGjlk/F/8YIwDwYDVR0TAQH/BAUwAwEB",
  "/zAKBggqhkjOPQQDAgNHADBEAiByX6K0GJHoO4aofzr8iGO/zF4hf4k5+bzUfCJ4",
  "gRUd/QIgBEN6+mGLW8ON9IANkRlHx5lPS9cVpWFfxwAMeoh7iRM=",
  "-----END CERTIFICATE-----",
];
const stdin = namedValues({ key: ["secret"], certificate: CERTIFICATE, authority: ["another"] });
const state = stateOf({ type: TYPES.command, name: RESOURCES.server, inputs: { stdin } });

it.each([
  ["2030-04-05T12:49:31Z", []],
  ["2031-09-26T12:49:30Z", []],
  ["2031-09-27T12:49:31Z", ["warning", "expires in 60 days"]],
  ["2031-11-26T12:49:32Z", ["error", "has expired: the backend refuses the server"]],
])("PostgreSQL's certificate, seen at %s", (now, [severity, message]) => {
  const expected = [
    `${severity} postgres the stack's state postgres.certificate.end: ${message}`,
    "replace convex-postgres-certificate; refresh ",
  ];
  expect(told(compareCertificate(state, Date.parse(now)))).toEqual(severity === undefined ? [] : [expected]);
});

it("a stack of an earlier release has no certificate to expire", () => {
  expect(compareCertificate(stateOf())).toEqual([]);
});

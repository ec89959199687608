import { expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareCertificate } from "../../operations/findings/postgres/certificate.ts";
import { stateOf, told } from "./findings.ts";

const END = "2031-11-25T11:43:26Z";
const state = stateOf({ type: TYPES.certificate, name: RESOURCES.certificate, outputs: { validityEndTime: END } });

it.each([
  ["2030-01-01T00:00:00Z", []],
  ["2031-09-25T11:43:25Z", []],
  ["2031-09-26T11:43:27Z", ["warning", "expires in 59 days"]],
  ["2031-11-25T11:43:27Z", ["error", "has expired: the backend refuses the server"]],
])("PostgreSQL's certificate, seen at %s", (now, [severity, message]) => {
  const expected = [
    `${severity} postgres the stack's state postgres.certificate.end: ${message}`,
    "the next up renews it, and the server reads it without a restart: npx pulumi up --stack dev",
  ];
  expect(told(compareCertificate(state, Date.parse(now)))).toEqual(severity === undefined ? [] : [expected]);
});

it("a stack of an earlier release has no certificate to expire", () => {
  expect(compareCertificate(stateOf())).toEqual([]);
});

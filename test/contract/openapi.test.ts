import { expect, it } from "vitest";

import type { Description, Exchange } from "./openapi.ts";
import { checkAgainst } from "./openapi.ts";

// Tests the check with a small description.

const json = (schema: object) => ({ content: { "application/json": { schema } } });

const description: Description = {
  paths: {
    "/v2/things/{id}": { get: { responses: { 200: json({ properties: { id: { type: "integer" } } }) } } },
    "/v2/things/default": { get: { responses: { 200: { $ref: "#/components/responses/thing" } } } },
    "/v2/things": {
      post: {
        requestBody: json({ $ref: "#/components/schemas/thing" }),
        responses: { 204: { headers: { left: { schema: { type: "integer" } } } }, default: json({}) },
      },
    },
  },
  components: {
    responses: { thing: json({ properties: { thing: { $ref: "#/components/schemas/thing" } } }) },
    schemas: {
      thing: {
        type: "object",
        properties: { name: { type: "string" }, region: { type: "string", enum: ["nyc3"], nullable: true } },
      },
    },
  },
};

const check = checkAgainst(description);

function exchange(method: string, path: string, answer: Partial<Exchange>): () => void {
  const headers = new Headers({ "content-type": "application/json", left: "3" });
  return () => {
    check({ ...{ method, path, sent: undefined, status: 200, headers, text: "" }, ...answer });
  };
}

it("passes exchanges that match the description, with a null, and with values that its lists leave out", () => {
  for (const region of [null, "nyc3", "atl1"]) {
    exchange("GET", "/v2/things/default?page=1", { text: JSON.stringify({ thing: { name: "a", region } }) })();
  }
  exchange("GET", "/v2/things/1", { text: '{"id": 1}' })();
  exchange("POST", "/v2/things", { status: 204, sent: '{"name": "a", "region": null}' })();
  exchange("POST", "/v2/things", { status: 422, sent: '{"name": 5}', text: "{}" })();
  exchange("GET", "/v2/others", { status: 501, text: "{}" })();
  exchange("GET", "/_control/health", { text: "{}" })();
});

it.each<[string, string, string, Partial<Exchange>]>([
  ["/thing must have required property 'region'", "GET", "/v2/things/default", { text: '{"thing": {"name": "a"}}' }],
  ["/id must be integer", "GET", "/v2/things/1", { text: '{"id": "1"}' }],
  ["has no answer 404", "GET", "/v2/things/1", { status: 404, text: "{}" }],
  ["has no answer 201", "POST", "/v2/things", { status: 201, text: "{}" }],
  ["has no body, and got one", "POST", "/v2/things", { status: 204, text: "{}" }],
  ["lacks the header left", "POST", "/v2/things", { status: 204, headers: new Headers() }],
  ["left is few, not an integer", "POST", "/v2/things", { status: 204, headers: new Headers({ left: "few" }) }],
  ["the answer is not JSON", "GET", "/v2/things/1", { text: '{"id": 1}', headers: new Headers() }],
  ["accepted a body that is not as described", "POST", "/v2/things", { status: 204, sent: '{"name": 5}' }],
  ["takes no body", "GET", "/v2/things/1", { text: '{"id": 1}', sent: "{}" }],
  ["is not described", "GET", "/v2/others", { text: "{}" }],
])("reports: %s", (wrong, method, path, answer) => {
  expect(exchange(method, path, answer)).toThrow(wrong);
});

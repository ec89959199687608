import { execa } from "execa";
import { expect, it } from "vitest";

const DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory";
const problem = (type: string, detail: string) =>
  `"type": "urn:ietf:params:acme:error:${type}",\n  "detail": "${detail}"`;

/** What explain_refusal prints for a log of certbot. */
async function explain(log: string): Promise<string> {
  const script = 'source machine/edge/certificate.sh && explain_refusal "$1"';
  const { stdout } = await execa("bash", ["-c", script, "-", DIRECTORY], { input: log });
  return stdout;
}

it.each([
  ["HTTP 429\nServer: nginx", "the ACME server's rate limit is reached"],
  [problem("rateLimited", "too many certificates (5) already issued"), "the ACME server's rate limit is reached"],
  [
    problem("caa", "CAA record for api.example.com prevents issuance"),
    "a CAA record of the domain forbids this authority",
  ],
  [
    problem("dns", "DNS problem: NXDOMAIN looking up A"),
    "the ACME server cannot find the names, or their records are wrong",
  ],
  [
    problem("connection", "Timeout during connect (likely firewall problem)"),
    "the ACME server cannot reach port 80 at the names",
  ],
  [problem("unauthorized", "Invalid response from http://api.example.com: 404"), "something else answers at the names"],
  [problem("invalidContact", "invalid email"), "the ACME server refuses the e-mail address"],
  [
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid (_ssl.c:1029)",
    "this machine's clock is wrong, or the ACME server's own certificate has expired",
  ],
  [
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
    `this machine does not trust the ACME server at ${DIRECTORY}`,
  ],
  [problem("serverInternal", "The service is down for maintenance"), "the ACME server has an error of its own"],
  ["HTTP 503\nServer: nginx", "the ACME server has an error of its own"],
  [
    "Max retries exceeded with url: /directory (Caused by NewConnectionError",
    `the ACME server at ${DIRECTORY} does not answer`,
  ],
])("%s is explained, once", async (log, cause) => {
  const lines = (await explain(`HTTP 200\n"caaIdentities": ["letsencrypt.org"]\n${log}\nConnection refused`)).split(
    "\n",
  );
  expect(lines).toEqual([`cause: ${cause}`, expect.stringMatching(/^ {2}fix: \S/)]);
});

it("an unknown reason is not explained", async () => {
  expect(await explain('HTTP 200\n"caaIdentities": ["letsencrypt.org"]\nNo idea')).toBe("");
});

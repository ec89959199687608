import { test } from "vitest";
import { certRequest } from "../../sandbox/plugins/tls/cert-request.ts";
import { locallySignedCert } from "../../sandbox/plugins/tls/locally-signed-cert.ts";
import { privateKey } from "../../sandbox/plugins/tls/private-key.ts";
import { selfSignedCert } from "../../sandbox/plugins/tls/self-signed-cert.ts";
import { expectSdkProperties } from "./plugin-declarations.ts";

test("PrivateKey has the properties of the npm SDK", () => {
  expectSdkProperties(privateKey, "tls", "privateKey", "PrivateKey");
});

test("CertRequest has the properties of the npm SDK", () => {
  expectSdkProperties(certRequest, "tls", "certRequest", "CertRequest");
});

test("SelfSignedCert has the properties of the npm SDK", () => {
  expectSdkProperties(selfSignedCert, "tls", "selfSignedCert", "SelfSignedCert");
});

test("LocallySignedCert has the properties of the npm SDK", () => {
  expectSdkProperties(locallySignedCert, "tls", "locallySignedCert", "LocallySignedCert");
});

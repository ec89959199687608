import { isIP } from "node:net";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  AttributeTypeAndValue,
  AttributeValue,
  GeneralName,
  Name,
  RelativeDistinguishedName,
} from "@peculiar/asn1-x509";
import ipaddr from "ipaddr.js";
import type { Properties, ValuesOf } from "../framework/definition.ts";

// In the order of the official plugin; a certificate made from a request has only these.
const OIDS = {
  country: "2.5.4.6",
  province: "2.5.4.8",
  locality: "2.5.4.7",
  streetAddresses: "2.5.4.9",
  postalCode: "2.5.4.17",
  organization: "2.5.4.10",
  organizationalUnit: "2.5.4.11",
  commonName: "2.5.4.3",
  serialNumber: "2.5.4.5",
} as const;
const EMAIL_ADDRESS = "1.2.840.113549.1.9.1";

const text = { type: "string" } as const;
const texts = { type: "list", items: text, replaces: true } as const;

/** The inputs that say whose key it is. */
export const subjectInputs = {
  subject: {
    type: "object",
    replaces: true,
    properties: {
      country: text,
      province: text,
      locality: text,
      streetAddresses: { type: "list", items: text },
      postalCode: text,
      organization: text,
      organizationalUnit: text,
      commonName: text,
      serialNumber: text,
      emailAddress: text,
    },
  },
  dnsNames: texts,
  ipAddresses: texts,
  uris: texts,
} as const satisfies Properties;

type SubjectInputs = ValuesOf<typeof subjectInputs>;

/** The name of the input `subject`; empty without one. */
export function nameFrom(subject: NonNullable<SubjectInputs["subject"]> = {}): Name {
  const name = ordered((key) => {
    const value = subject[key];
    return typeof value === "string" ? [value] : (value ?? []);
  });
  if (subject.emailAddress !== undefined) {
    name.push(part(EMAIL_ADDRESS, [new AttributeValue({ ia5String: subject.emailAddress })]));
  }
  return name;
}

/** A request's name as the official plugin copies it into a certificate: without e-mail address and unknown parts. */
export function nameFromRequest(requested: Name): Name {
  const attributes = requested.flatMap((rdn) => [...rdn]);
  return ordered((key) => attributes.filter(({ type }) => type === OIDS[key]).map(({ value }) => value.toString()));
}

function ordered(valuesOf: (key: keyof typeof OIDS) => string[]): Name {
  const parts = (Object.keys(OIDS) as (keyof typeof OIDS)[]).flatMap((key) => {
    const values = valuesOf(key);
    const absent = values.length === 0 || ((key === "commonName" || key === "serialNumber") && values[0] === "");
    return absent ? [] : [part(OIDS[key], values.map(directoryString))];
  });
  return new Name(parts);
}

function part(type: string, values: AttributeValue[]): RelativeDistinguishedName {
  const attributes = values.map((value) => new AttributeTypeAndValue({ type, value }));
  // DER sorts the items of a set.
  return new RelativeDistinguishedName(attributes.toSorted((one, other) => Buffer.compare(der(one), der(other))));
}

function der(value: object): Buffer {
  return Buffer.from(AsnConvert.serialize(value));
}

function directoryString(value: string): AttributeValue {
  return new AttributeValue(
    /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value) ? { printableString: value } : { utf8String: value },
  );
}

/** The names and addresses for which a client accepts the certificate. */
export function alternativeNames({ dnsNames = [], ipAddresses = [], uris = [] }: SubjectInputs): GeneralName[] {
  for (const address of ipAddresses) {
    if (isIP(address) === 0) throw new Error(`Invalid IP address: Failed to parse "${address}"`);
  }
  for (const uri of uris) if (!URL.canParse(uri)) throw new Error(`Invalid URI: Failed to parse "${uri}"`);
  for (const name of [...dnsNames, ...uris]) {
    if (!/^[\0-\x7f]*$/.test(name)) throw new Error(`"${name}" cannot be encoded as an IA5String`);
  }
  return [
    ...dnsNames.map((dNSName) => new GeneralName({ dNSName })),
    // An IPv4 address in IPv6 form is written as IPv4.
    ...ipAddresses.map((address) => new GeneralName({ iPAddress: ipaddr.process(address).toString() })),
    ...uris.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
  ];
}

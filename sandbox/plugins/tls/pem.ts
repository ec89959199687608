/** A PEM block; its label is a word like `CERTIFICATE`. */
export function toPem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** The first PEM block in a text; throws if there is none or it has another label. */
export function fromPem(label: string, text: string): Buffer {
  const block = /-----BEGIN ([^\n]+)-----\n([^-]*)-----END \1-----/.exec(text);
  if (!block) throw new Error(`failed to decode PEM of expected type "${label}"`);
  if (block[1] !== label) throw new Error(`invalid PEM type - expected "${label}", got "${block[1] ?? ""}"`);
  return Buffer.from(block[2] ?? "", "base64");
}

/** Whether the key that a server presents, in wire format, is the expected one, in `authorized_keys` format. */
export function isHostKey(presented: Buffer, expected: string): boolean {
  return presented.equals(Buffer.from(expected.split(" ")[1] ?? "", "base64"));
}

import { stackFile } from "./reader.ts";
import type { Fault, Reader } from "./reader.ts";

const PATTERN = /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/]+=*( .*)?$/;
const SHOULD = "OpenSSH public keys such as 'ssh-ed25519 AAAA… me@laptop'";

/** A list of OpenSSH public keys. */
export function readOperatorKeys(read: Reader, key: string): string[] {
  return read.list(key, publicKeyFault, SHOULD, `Set it in ${stackFile()}.`) ?? [];
}

function publicKeyFault(text: string): Fault | undefined {
  return PATTERN.test(text)
    ? undefined
    : { sentence: `"${text}" is not valid, it should be one of ${SHOULD}.`, fix: `Set it in ${stackFile()}.` };
}

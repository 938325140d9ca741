import { webTrust } from '../../client/bundle-endpoint.ts';
import type { KeyTypeName } from '../../spiffe/pki/algorithms.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { rootsFrom } from '../bundle/inputs.ts';
import { endpointUrl } from '../endpoint-url.ts';
import { fromNow, type OutputOptions, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { writeCredentials } from '../token/credential-files.ts';

export interface X509SvidOptions extends OutputOptions {
  keyType: KeyTypeName;
  roots?: string;
}

/** `kubespiffe token --x509`: gets a certificate and says which. The key goes into its files and nowhere else. */
export async function getX509Svid(
  terminal: Terminal,
  subjectToken: string,
  endpoint: string,
  folder: string,
  { keyType, roots, output }: X509SvidOptions,
): Promise<void> {
  const url = endpointUrl(endpoint, 'https://kubespiffe-tokens.kubespiffe.svc/x509-svid');
  const trust = webTrust(roots === undefined ? undefined : await rootsFrom(terminal, roots));
  // Loaded only where it is used: the library that makes requests takes a while.
  const { requestX509Svid } = await import('../../client/x509-svid.ts');
  const got = await requestX509Svid({ url, subjectToken, keyType, trust, env: terminal.env });
  const files = await writeCredentials(folder, got);
  const { spiffeId, notBefore, notAfter, refreshAt } = got;
  if (output) {
    return printObject(terminal, output, {
      spiffeId,
      notBefore: rfc3339(notBefore),
      notAfter: rfc3339(notAfter),
      refreshAt: rfc3339(refreshAt),
      files,
    });
  }
  const now = Math.floor(terminal.now() / 1000);
  terminal.out(
    `SPIFFE ID   ${printable(spiffeId)}\n` +
      `Valid       ${rfc3339(notBefore)} to ${rfc3339(notAfter)} (ends ${fromNow(notAfter, now)})\n` +
      `Renew at    ${rfc3339(refreshAt)} (${fromNow(refreshAt, now)})\n` +
      `Files       ${files.join('\n            ')}\n`,
  );
}

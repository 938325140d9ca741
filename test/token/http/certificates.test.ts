import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../../signer/authority/document.ts';
import { signingAuthorityAt } from '../../../signer/authority/may-sign.ts';
import { type Authority, compilePool } from '../../../signer/authority/pool.ts';
import { reserveNothing } from '../../../signer/authority/reservations.ts';
import { readCertificateFiles } from '../../../signer/token/http/certificate-files.ts';
import { filedCertificates, ownCertificates } from '../../../signer/token/http/certificate-source.ts';
import { isToBeRenewed, makeEndpointCertificate } from '../../../signer/token/http/endpoint-certificate.ts';
import type { ServerCertificate } from '../../../signer/token/http/tls.ts';
import { KubespiffeError } from '../../../spiffe/errors.ts';
import { endpointIdOf } from '../../../spiffe/infrastructure.ts';
import { makeCa } from '../../authority/authorities.ts';
import { makeStateFolder, removeStateFolder } from '../../cluster/state-folder.ts';
import { webCredentials } from '../../contract/bundle-endpoint.ts';
import { timeWith } from '../../kube/fake-time.ts';
import { nameConstraints } from '../../spiffe/pki/name-constraints.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25, 12) / 1000;
const hour = 3600;
const dnsNames = ['kubespiffe-tokens.kubespiffe.svc', 'localhost'];

/** A new authority, as `ca create --ca-id` makes it: those of one id have nothing but the id in common. */
async function anAuthority(more: { id?: string; lifetimeSeconds?: number } = {}): Promise<Authority> {
  return signing(await createAuthority({ id: 'ca-1', trustDomain, now, ...more }));
}

/** An authority with a CA of a company that permits these DNS names. */
async function aLimitedAuthority(...permittedDnsNames: string[]): Promise<Authority> {
  const permitted = [
    ['URI', trustDomain],
    ...permittedDnsNames.map((base) => ['DNS', base] as const),
  ] as const;
  const { certificate, privateKey } = await makeCa({
    ...{ notBefore: now - hour, notAfter: now + 365 * 24 * hour },
    furtherExtensions: [nameConstraints({ permitted })],
  });
  return signing({
    ...{ id: 'ca-1', kind: 'X509', state: 'active', tainted: false },
    ...{ certificate, privateKey, intermediates: [] },
  });
}

function signing(record: AuthorityRecord): Authority {
  const compiled = compilePool(newPool(trustDomain, record), trustDomain);
  assert.ok(compiled.ok);
  const signable = signingAuthorityAt(compiled.pool, now, 0);
  assert.ok(signable.ok);
  return signable.authority;
}

const make = (authority: Authority, at = now) =>
  makeEndpointCertificate({ authority, trustDomain, dnsNames, now: at, randomBytes });
/** Runs what waits in the next turn of the event loop, however long it wants to wait. */
function soon(run: () => void): () => void {
  const turn = setImmediate(run);
  return () => clearImmediate(turn);
}
const secondsOf = (date: Date) => date.getTime() / 1000;

describe("the endpoint's own certificate", () => {
  it("the endpoint's certificate is an SVID with the reserved path and the DNS names, for the key that comes with it", async () => {
    const authority = await anAuthority();
    const { keyPem, chainPem } = await make(authority);
    const certificate = new X509Certificate(chainPem);
    assert.equal(
      certificate.subjectAltName,
      ['URI:', endpointIdOf(trustDomain).uri, ...dnsNames.map((name) => `, DNS:${name}`)].join(''),
    );
    assert.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)));
    assert.ok(certificate.verify(new X509Certificate(authority.root.der).publicKey));
  });

  it('each certificate of the endpoint has a key of its own', async () => {
    const authority = await anAuthority();
    const [first, second] = [await make(authority), await make(authority)];
    assert.notEqual(first.keyPem, second.keyPem);
  });

  it("the endpoint's certificate is valid for a day and is renewed after half of it", async () => {
    const { chainPem, notAfter, renewAt } = await make(await anAuthority());
    const { validFromDate, validToDate } = new X509Certificate(chainPem);
    assert.deepEqual([secondsOf(validFromDate), secondsOf(validToDate)], [now - 120, now - 120 + 24 * hour]);
    assert.equal(notAfter, secondsOf(validToDate));
    assert.equal(renewAt, now + 12 * hour - 60);
  });

  it("the endpoint's certificate does not outlive its CA, and is renewed after half of what is left", async () => {
    const authority = await anAuthority({ lifetimeSeconds: 24 * hour });
    const { notAfter, renewAt } = await make(authority, now + 22 * hour);
    assert.deepEqual([notAfter, renewAt], [now + 24 * hour, now + 23 * hour]);
  });

  it("the endpoint's certificate is renewed in time, and when another chain signs, even under the same id", async () => {
    const [authority, another, renamed] = [
      await anAuthority(),
      await anAuthority(),
      await anAuthority({ id: 'ca-2' }),
    ];
    const certificate = await make(authority);
    const underIntermediate = { ...authority, intermediates: [another.root] };
    const rows: [what: string, authority: Authority, at: number, expected: boolean][] = [
      ['the same', authority, now, false],
      ['a second before', authority, certificate.renewAt - 1, false],
      ['in time', authority, certificate.renewAt, true],
      ['another CA under the same id', another, now, true],
      ['another CA under another id', renamed, now, true],
      ['the same CA under another id', { ...authority, id: 'ca-2' }, now, false],
      ['another intermediate', underIntermediate, now, true],
    ];
    for (const [what, signing, at, expected] of rows) {
      assert.equal(isToBeRenewed(certificate, signing, at), expected, what);
    }
  });
});

describe("the endpoint's certificate below a CA with name constraints", () => {
  let folder: string;
  before(async () => {
    folder = await makeStateFolder();
  });
  after(() => removeStateFolder(folder));

  const uri = `URI:${endpointIdOf(trustDomain).uri}`;
  const rows: [permitted: string[], names: string, lack: RegExp | undefined][] = [
    [
      ['.corp.example'],
      uri,
      /^its certificate does not have the DNS names kubespiffe-tokens\.kubespiffe\.svc and localhost, .* authority ca-1 .*tokenNames/,
    ],
    [['.corp.example', 'svc'], `${uri}, DNS:${dnsNames[0]}`, /not have the DNS name localhost, because/],
    [['svc', 'localhost'], `${uri}, DNS:${dnsNames.join(', DNS:')}`, undefined],
  ];
  for (const [permitted, names, lack] of rows) {
    it(`OpenSSL accepts the endpoint's certificate below a CA for ${permitted.join(' and ')}, with the names that it permits`, async () => {
      const authority = await aLimitedAuthority(...permitted);
      const made = await make(authority);
      assert.equal(new X509Certificate(made.chainPem).subjectAltName, names);
      if (lack) assert.match(made.lack ?? '', lack);
      else assert.equal(made.lack, undefined);
      await writeFile(join(folder, 'root.pem'), new X509Certificate(authority.root.der).toString());
      await writeFile(join(folder, 'leaf.pem'), made.chainPem);
      const words = ['verify', '-x509_strict', '-purpose', 'sslserver', '-attime', `${now}`];
      const args = [...words, '-CAfile', 'root.pem', 'leaf.pem'];
      const printed = execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
      assert.equal(printed, 'leaf.pem: OK\n');
    });
  }
});

describe('the source of those certificates', () => {
  /** Its clock moves by itself: each pause is over at once, and calls what the test has planned for its time. */
  async function followed(
    plan: (atSecond: number, set: (authority: Authority | undefined) => void) => void,
    untilSecond = 13 * hour,
    onReserve: (set: (authority: Authority | undefined) => void) => void = () => undefined,
  ) {
    const stop = new AbortController();
    const first = await anAuthority();
    let authority: Authority | undefined = first;
    let nowMs = now * 1000;
    const at = () => nowMs / 1000 - now;
    const set = (next: Authority | undefined) => {
      authority = next;
    };
    const source = ownCertificates({
      authority: () =>
        authority ? { ok: true, authority } : { ok: false, reason: 'PoolUnusable', detail: 'no CA' },
      reserve: async (signing, until) => {
        await reserveNothing(signing, until);
        if (at() > 0) onReserve(set);
      },
      trustDomain,
      dnsNames,
      log: { info: () => undefined },
      time: timeWith({
        now: () => nowMs,
        timer(run, ms) {
          nowMs += ms;
          if (at() >= untilSecond) stop.abort();
          plan(at(), set);
          return soon(run);
        },
      }),
      randomBytes,
    });
    const shown: { at: number; certificate: ServerCertificate }[] = [];
    const said: { at: number; ended: string | undefined }[] = [];
    const begun = await source.first(() => undefined, stop.signal);
    assert.ok(begun);
    const follower = {
      use: (certificate: ServerCertificate) => void shown.push({ at: at(), certificate }),
      looked(ended: string | undefined) {
        if (said.at(-1)?.ended !== ended) said.push({ at: at(), ended });
      },
    };
    await source.follow(follower, stop.signal);
    return { begun, shown, said };
  }

  it('a new certificate comes every half day and none in between', async () => {
    const { begun, shown } = await followed(() => undefined);
    assert.deepEqual(
      shown.map(({ at }) => at),
      [12 * hour - 60],
    );
    assert.notEqual(shown[0]?.certificate.keyPem, begun.keyPem);
  });

  it('a new certificate comes within seconds when the CA is replaced by another one with the same id', async () => {
    const another = await anAuthority();
    const { shown } = await followed((at, set) => {
      if (at === 600) set(another);
    });
    assert.equal(shown[0]?.at, 600);
    const certificate = new X509Certificate(shown[0].certificate.chainPem);
    assert.ok(certificate.verify(new X509Certificate(another.root.der).publicKey));
  });

  it('the last certificate stays while no CA may sign, the reason is reported from its end on, and it is renewed later', async () => {
    const [another, endsAt] = [await anAuthority(), 24 * hour - 120];
    const { shown, said } = await followed((at, set) => {
      if (at === 600) set(undefined);
      if (at === endsAt + hour) set(another);
    }, 26 * hour);
    assert.deepEqual(said, [
      {
        at: endsAt,
        ended:
          'its certificate ended at 2026-11-26T11:58:00Z, so clients refuse it; there is no newer one: ' +
          'The CA pool cannot be used: no CA',
      },
      { at: endsAt + hour, ended: undefined },
    ]);
    assert.equal(shown[0]?.at, endsAt + hour);
  });

  it('the last certificate stays while the key of the CA cannot be used, and is renewed later', async () => {
    const another = await anAuthority();
    const lost: Authority = {
      ...another,
      signingAuthority: {
        ...another.signingAuthority,
        signer: {
          ...another.signingAuthority.signer,
          sign: () => Promise.reject(new KubespiffeError('KEY_UNAVAILABLE', 'the token was removed')),
        },
      },
    };
    const endsAt = 24 * hour - 120;
    const { shown, said } = await followed((at, set) => {
      if (at === 600) set(undefined);
      if (at === endsAt - 10) set(lost);
      if (at === endsAt + 10) set(another);
    }, 25 * hour);
    assert.match(said[0]?.ended ?? '', /no newer one: The key of the signing CA .*the token was removed/);
    assert.deepEqual(
      shown.map(({ at }) => at),
      [endsAt + 10],
    );
  });

  it('a certificate is discarded if its CA may not sign any more when it has signed', async () => {
    const [another, third] = [await anAuthority(), await anAuthority()];
    const plan = (at: number, set: (authority: Authority | undefined) => void) => {
      if (at === 600) set(another);
      if (at === 1200) set(third);
    };
    const { shown } = await followed(plan, hour, (set) => set(undefined));
    assert.deepEqual(shown, []);
    const replaced = await followed(plan, 600, (set) => set(third));
    assert.deepEqual(replaced.shown, []);
  });
});

describe('a certificate in files', () => {
  let folder: string;
  before(async () => {
    folder = await makeStateFolder();
  });
  after(() => removeStateFolder(folder));

  it('a certificate in files is not used once it has expired, nor before its key matches', async () => {
    const files = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
    const { key, cert } = await webCredentials();
    const { validToDate } = new X509Certificate(cert);
    await writeFile(files.certificateFile, cert);
    await writeFile(files.keyFile, key);
    const read = async (nowMs: number) => {
      const outcome = await readCertificateFiles(files, nowMs);
      return outcome.ok ? 'good' : outcome.reason;
    };
    const endsAt = validToDate.getTime();
    assert.equal(await read(endsAt - 1), 'good');
    assert.match(await read(endsAt), /tls\.crt has ended on .*; renew it$/);
    await writeFile(files.keyFile, (await webCredentials()).key);
    assert.match(await read(endsAt - 1), /tls\.key is not that of the first certificate in .*tls\.crt$/);
    await writeFile(files.certificateFile, 'no certificate');
    assert.match(await read(endsAt - 1), /tls\.crt holds no certificate in PEM$/);
  });

  it('a certificate in files is reported as expired, with other problems of the files or without, until a newer one is loaded', async () => {
    const files = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
    const put = ({ key, cert }: { key: string; cert: string }) => {
      writeFileSync(files.certificateFile, cert);
      writeFileSync(files.keyFile, key);
    };
    const [early, late] = [await webCredentials(), await webCredentials({ lifetimeSeconds: 2 * hour })];
    const endsAt = new X509Certificate(early.cert).validToDate.getTime();
    const stop = new AbortController();
    let nowMs = endsAt - 15_000;
    const said: [secondsAfterEnd: number, ended: string | undefined][] = [];
    const used: ServerCertificate[] = [];
    const source = filedCertificates({
      ...files,
      log: { info: () => undefined, warn: () => undefined },
      time: timeWith({
        now: () => nowMs,
        timer(run, ms) {
          nowMs += ms;
          if (nowMs === endsAt - 5_000) writeFileSync(files.keyFile, 'no key');
          if (nowMs === endsAt + 10_000) put(late);
          if (nowMs === endsAt + 15_000) stop.abort();
          return soon(run);
        },
      }),
    });
    put(early);
    assert.ok(await source.first(() => undefined, stop.signal));
    const looked = (ended: string | undefined) => said.push([(nowMs - endsAt) / 1000, ended]);
    await source.follow(
      { use: (certificate) => void used.push(certificate), looked: (ended) => void looked(ended) },
      stop.signal,
    );
    const ended = /^its certificate ended at .*Z, .*: .*tls\.key holds no unencrypted private key in PEM$/;
    assert.deepEqual(
      said.map(([at, reason]) => [at, reason === undefined ? 'good' : ended.test(reason)]),
      [
        [-10, 'good'],
        [-5, 'good'],
        [0, true],
        [5, true],
        [10, 'good'],
        [15, 'good'],
      ],
    );
    assert.deepEqual(
      used.map(({ chainPem }) => chainPem),
      [late.cert],
    );
  });
});

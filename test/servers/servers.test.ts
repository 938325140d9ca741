import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { waitFor } from '../cluster/process.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor } from '../workload/credentials.ts';
import { makeWorld, peerCases } from '../workload/peers.ts';
import { makeDisguises } from './disguises.ts';
import { otherId, type RunningExample, startExample, webId } from './example.ts';
import { examples } from './examples.ts';

let folder: string;
// Files of a volume are not for everyone, as with `defaultMode: 0440`.
const umask = process.umask(0o027);
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-servers-'));
});
after(async () => {
  process.umask(umask);
  await rm(folder, { recursive: true, force: true });
});

for (const example of examples) {
  describe(`${example.name} with the files of kubespiffe helper`, () => {
    let running: RunningExample;
    before(async () => {
      running = await startExample(example, folder);
    });
    after(() => running?.[Symbol.asyncDispose]());

    const { answer, refusal, alsoRefused = [], requestWithoutPassword } = example;
    if (refusal) {
      it(`${example.name} accepts the client by its SPIFFE ID, and no other workload of the trust domain`, async () => {
        const { ask, ca } = running;
        assert.match((await ask(await credentialsFor(webId, ca), ca.pem)).trim(), answer);
        for (const other of [otherId, `${webId}2`, webId.slice(0, -1)]) {
          await assert.rejects(ask(await credentialsFor(other, ca), ca.pem), refusal, other);
        }
        for (const request of alsoRefused) {
          await assert.rejects(ask(await credentialsFor(otherId, ca), ca.pem, request), refusal);
        }
      });

      it(`${example.name} reads no SPIFFE ID from another field of a certificate`, async () => {
        const { ask, ca } = running;
        for (const { name, ...credentials } of await makeDisguises(ca, webId, otherId)) {
          await assert.rejects(ask(credentials, ca.pem), refusal, name);
        }
      });
    }

    if (requestWithoutPassword) {
      it(`${example.name} accepts no workload of the trust domain without a password`, async () => {
        const { ask, ca } = running;
        const asked = ask(await credentialsFor(webId, ca), ca.pem, requestWithoutPassword);
        await assert.rejects(asked, /NOAUTH/);
      });
    }

    it(`${example.name} refuses every certificate that is not an X509-SVID of the trust domain`, async () => {
      const { ask, ca } = running;
      const world = { ...(await makeWorld()), ca };
      for (const { name, make, expected, acceptedBy } of peerCases) {
        const credentials = await make(world);
        if ('id' in expected && expected.id === webId) {
          assert.match((await ask(credentials, ca.pem)).trim(), answer, name);
        } else if (refusal || !acceptedBy?.includes('OpenSSL')) {
          await assert.rejects(ask(credentials, ca.pem), `accepted: ${name}`);
        }
      }
    });

    it(`${example.name} takes new certificates and roots: no request fails, and an open session stays`, async () => {
      const { ask, askInLoop, openSession, renewClient, renewServer, ca } = running;
      const next = await makeCa({ subject: 'O=example.org, CN=next' });
      const both = ca.pem + next.pem;
      const session = await openSession?.();
      const loop = askInLoop();
      const furtherRequests = () => {
        const before = loop.count();
        return waitFor('further requests', () => loop.count() > before + 5);
      };
      const isLetIn = (signing: typeof ca, roots: string) => async () => {
        await ask(await credentialsFor(webId, signing), roots);
        return true;
      };
      // The steps of a CA rotation: all know both roots, then use certificates of the next, then forget the old one.
      renewServer(await credentialsFor(example.serverId, ca), both);
      renewClient(await credentialsFor(webId, ca), both);
      await waitFor('a client of the next root to be let in', isLetIn(next, both));
      await furtherRequests();
      renewClient(await credentialsFor(webId, next), both);
      renewServer(await credentialsFor(example.serverId, next), both);
      await waitFor('a server certificate of the next root', isLetIn(next, next.pem));
      await furtherRequests();
      renewServer(await credentialsFor(example.serverId, next), next.pem);
      await waitFor('a client of the old root to be refused', () =>
        isLetIn(ca, next.pem)().then(
          () => false,
          () => true,
        ),
      );
      await furtherRequests();
      const isAnswer = (text: string) => answer.test(text);
      assert.deepEqual(
        (await loop.stop()).filter((text) => !isAnswer(text)),
        [],
      );
      if (session) assert.deepEqual((await session.askAgain()).map(isAnswer), [true, true]);
    });
  });
}

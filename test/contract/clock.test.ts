import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { startInstalledSigner } from './installation.ts';
import type { SignerProcess } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

describe('the clock of the API server is the reference', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    const reach = { server: proxy.url, authority: proxy.authority };
    signer = await startInstalledSigner(controlPlane, { reach });
  });
  after(async () => {
    await proxy?.stop();
    await controlPlane?.stop();
  });

  const skews: [name: string, serverAheadMs: number, says: RegExp][] = [
    ['160 s slow', 160_000, /\[-\]clock .*1(59|60|61) s slow.*Fix time synchronisation/],
    ['100 s fast', -100_000, /\[-\]clock .*(99|100|101) s fast.*Fix time synchronisation/],
  ];
  for (const [name, serverAheadMs, says] of skews) {
    it(`the signer waits, is not ready and reports that its own clock is ${name}`, async () => {
      proxy.shiftClock(serverAheadMs);
      await waitFor('the skew to be noticed', async () => {
        const { ok, text } = await signer.readiness();
        if (ok || !says.test(text)) throw new Error(text);
        return true;
      });
      const request = await requestFor(controlPlane, await createPod(controlPlane));
      const key = `default/${request.metadata.name}`;
      await waitFor('the decision', () =>
        signer.lines().some((line) => line.request === key && line.reason === 'ClockSkew'),
      );
      assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});

      proxy.shiftClock(0);
      assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    });
  }

  for (const serverAheadMs of [140_000, -80_000]) {
    it(`the signer issues within the bounds of its clock, at ${serverAheadMs / 1000} s`, async () => {
      await waitFor('the signer to be ready', async () => (await signer.readiness()).ok);
      proxy.shiftClock(serverAheadMs);
      await waitFor('the skew to be noticed', async () => {
        const skew = await signer.metric('kubespiffe_clock_skew_seconds');
        return Math.abs(skew + serverAheadMs / 1000) < 3;
      });
      const request = await requestFor(controlPlane, await createPod(controlPlane));
      assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    });
  }
});

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import type { Pod } from '../../signer/kube/types.ts';
import type { OverviewAnswer } from '../../tools/ui/cluster-answers.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type RunningDev, startDev } from '../dev/dev.ts';
import { rolesAt } from '../manifests/roles.ts';
import { run } from '../tools/run.ts';
import { installRegistrations, startInstalledSigner } from './installation.ts';
import { openPage, type RunningUi, screenshot, startBrowser, startUi } from './ui-browser.ts';
import { answerTo, create, requestFor, signerName } from './workloads.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const pods = 10_000;
const namespaces = 20;
/** Most writes in one transaction of etcd. */
const mostWrites = 128;

/** What a tenant may write into a pod, to act in the browser of a person with more permissions. */
const markup = '<img src=x onerror=alert(1)>';

const paths = ['/', '/pods', '/pods/team-0/issued', '/authorities', '/peers'];

let controlPlane: ControlPlane;
let browser: Browser;
let ui: RunningUi;

const namespaceOf = (number: number) => `team-${number % namespaces}`;

function createWeb(namespace: string, name: string, source: object = {}): Promise<Pod> {
  const podCertificate = { signerName, keyType: 'ECDSAP256', credentialBundlePath: 'svid.pem', ...source };
  return create<Pod>(controlPlane, `/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name, namespace, labels: { app: 'web' } },
    spec: {
      ...{ nodeName: 'node-1', serviceAccountName: 'default', automountServiceAccountToken: false },
      containers: [{ name: 'app', image: 'none' }],
      volumes: [{ name: 'identity', projected: { sources: [{ podCertificate }] } }],
    },
  });
}

/** Stores many pods like this one, as the API server would: to create 10,000 of them takes it a minute of two cores. */
async function storeLike(pod: Pod, numbers: readonly number[]): Promise<void> {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const { resourceVersion: _, ...metadata } = pod.metadata as Pod['metadata'] & { resourceVersion: string };
  const writes = numbers.map((number) => {
    const [namespace, name] = [namespaceOf(number), `web-${number}`];
    const stored = { ...pod, metadata: { ...metadata, namespace, name, uid: randomUUID() } };
    const key = base64(`/registry/pods/${namespace}/${name}`);
    return { requestPut: { key, value: base64(JSON.stringify(stored)) } };
  });
  for (let from = 0; from < writes.length; from += mostWrites) {
    await controlPlane.etcd.call('/v3/kv/txn', { success: writes.slice(from, from + mostWrites) });
  }
}

before(async () => {
  // Without controllers: they would delete pods of a node that does not exist.
  controlPlane = await startControlPlane({ controllers: false });
  await installRegistrations(controlPlane);
  await startInstalledSigner(controlPlane);
  await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', base]);
  for (let number = 0; number < namespaces; number += 1) {
    const namespace = namespaceOf(number);
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace } });
    const serviceAccounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await create(controlPlane, serviceAccounts, { metadata: { name: 'default' } });
  }
  const first = await createWeb(namespaceOf(0), 'web-0');
  await storeLike(
    first,
    Array.from({ length: pods - 1 }, (_, number) => number + 1),
  );
  await create(controlPlane, '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains', {
    ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name: 'partner' } },
    spec: { trustDomain: 'partner.example', bundle: '{"keys":[]}' },
  });
  const issued = await createWeb('team-0', 'issued');
  await answerTo(controlPlane, await requestFor(controlPlane, issued));
  const stuck = await createWeb('team-0', 'stuck');
  await requestFor(controlPlane, stuck, { nodeName: 'node-2' });
  await createWeb('team-1', 'hostile', { userAnnotations: { 'example.org/x': markup } });
  browser = await startBrowser();
  ui = await startUi(['--kubeconfig', controlPlane.kubeconfig]);
});
after(async () => {
  await ui?.stop();
  await browser?.close();
  await controlPlane?.stop();
});

const secret = () => new URLSearchParams(new URL(ui.url).hash.slice(1)).get('token') ?? '';

async function overview(): Promise<OverviewAnswer> {
  const headers = { authorization: `Bearer ${secret()}` };
  return (await fetch(new URL('/api/overview', ui.url), { headers })).json() as Promise<OverviewAnswer>;
}

/** The page at a path, with the secret of the URL. */
const open = (path: string, options?: Parameters<typeof openPage>[2]) =>
  openPage(browser, ui.url.replace('/#', `${path}#`), options);

describe('kubespiffe ui', () => {
  it('the web view shows the installation, and leads from a request that waits to its pod', async () => {
    const { page, wrong } = await open('/');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    assert.ok(!page.url().includes('token'), 'the secret is taken out of the URL');
    const row = page.getByRole('row', { name: /team-0\/stuck/ });
    assert.match((await row.textContent()) ?? '', /NodeMismatch/);
    await screenshot(page, 'ui-overview.png');
    await row.getByRole('link').click();
    await page.getByRole('heading', { name: 'team-0/stuck', exact: true }).waitFor();
    await page.getByText('spiffe://example.org/ns/team-0/sa/default').first().waitFor();
    await page.getByText('Not issued yet: a request of this pod is open.').waitFor();
    const lines = `[...document.querySelectorAll('td[data-title="State"]')].map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getClientRects().length;
    })`;
    assert.deepEqual(await page.evaluate<number[]>(lines), [1], 'no word is broken');
    assert.deepEqual(wrong, []);
  });

  it('the web view finds a pod among thousands by words of its name and its SPIFFE ID', async () => {
    const { page, wrong } = await open('/');
    await page.getByRole('link', { name: 'Pods' }).click();
    await page.getByText(`${pods + 3} found`).waitFor();
    await page.keyboard.press('/');
    // Slower than the page reads, which must not take back what was typed.
    await page.keyboard.type('ns/team-7/sa/default web-9207', { delay: 60 });
    await page.getByText('1 found', { exact: true }).waitFor();
    await page.getByRole('link', { name: 'team-7/web-9207' }).waitFor();
    await page.getByRole('searchbox').fill('team-0');
    await page.getByText(`${pods / namespaces + 2} found`).waitFor();
    await screenshot(page, 'ui-pods.png');
    const [bundle] = (await overview()).bundles;
    await page.getByRole('searchbox').fill(bundle?.roots[0]?.sha256 ?? '');
    await page.getByText('1 found', { exact: true }).waitFor();
    await page.getByRole('link', { name: 'team-0/issued' }).waitFor();
    await page.getByRole('searchbox').fill('team-0');
    await page.getByText(`${pods / namespaces + 2} found`).waitFor();
    await page.getByLabel(/^waiting/).check();
    await page.getByText('1 found', { exact: true }).waitFor();
    await page.getByRole('link', { name: 'team-0/stuck' }).waitFor();
    assert.deepEqual(wrong, []);
  });

  it('the web view shows the certificate of a pod, its root, and how its name was decided', async () => {
    const { page, wrong } = await open('/pods/team-0/issued');
    await page.getByRole('heading', { name: 'Certificate of the newest request' }).waitFor();
    await page.getByRole('heading', { name: /^Root in kubespiffe\.io:spiffe:roots/ }).waitFor();
    const text = await page.locator('main').textContent();
    for (const part of [
      'issued',
      'the default of the signer',
      'Kubelet renews it',
      'ServiceAccount default',
    ]) {
      assert.ok(text?.includes(part), part);
    }
    await screenshot(page, 'ui-pod.png');
    assert.deepEqual(wrong, []);
  });

  it('the web view shows everything that a tenant has written as text', async () => {
    const { page, wrong } = await open('/pods/team-1/hostile');
    await page.getByText(`example.org/x=${markup}`).waitFor();
    assert.equal(await page.locator('img').count(), 0);
    assert.deepEqual(wrong, []);
  });

  it('the web view shows the timeline of each authority, and the peers', async () => {
    const { page, wrong } = await open('/authorities', { colorScheme: 'dark' });
    await page.getByRole('heading', { name: /kubespiffe\/kubespiffe-pool can sign/ }).waitFor();
    const timeline = page.locator('.timeline').first();
    for (const step of ['published', 'signs', 'its certificate ends']) {
      assert.ok((await timeline.textContent())?.includes(step), step);
    }
    await screenshot(page, 'ui-authorities.png');
    await page.getByRole('link', { name: 'Peers' }).click();
    await page.getByRole('heading', { name: /partner\.example not ready/ }).waitFor();
    assert.deepEqual(wrong, []);
  });

  it('the web view can be used with the keyboard only: the focus follows, and every control has a name', async () => {
    const { page } = await open('/');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content');
    await page.getByRole('link', { name: 'Authorities' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Authorities' }).waitFor();
    assert.equal(await page.evaluate('document.activeElement.id'), 'main');
    await page.goBack();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.getByRole('link', { name: 'Pods' }).click();
    await page.getByRole('searchbox').waitFor();
    const names =
      "[...document.querySelectorAll('input, button, a')].map((e) => e.labels?.[0]?.textContent || e.textContent)";
    const named = await page.evaluate<string[]>(names);
    assert.ok(named.length > 10 && named.every((name) => name.trim() !== ''), named.join());
  });

  it('the web view fits a window of 360 pixels without scrolling sideways', async () => {
    for (const path of paths) {
      const { page } = await open(path, { width: 360 });
      await page.locator('footer').waitFor();
      await page.locator('main h1').waitFor();
      assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), path);
      await page.context().close();
    }
  });

  it('the web view shows text on every colour with a contrast of at least 4.5, light and dark', async () => {
    const contrast = await readFile(join(import.meta.dirname, 'ui-contrast.js'), 'utf8');
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const path of paths) {
        const { page } = await open(path, { colorScheme });
        await page.locator('footer').waitFor();
        await page.locator('main h1').waitFor();
        const least = await page.evaluate<number>(contrast);
        assert.ok(least >= 4.5, `${path}, ${colorScheme}: ${least}`);
        await page.context().close();
      }
    }
  });

  it('the web view gives nothing without the secret, to another host, or to another method', async () => {
    const { port } = new URL(ui.url);
    const get = (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${port}${path}`, init);
    const authorization = `Bearer ${secret()}`;
    assert.equal((await get('/api/overview')).status, 401);
    assert.equal((await get('/api/overview', { headers: { authorization: 'Bearer x' } })).status, 401);
    assert.equal((await get('/api/overview', { headers: { authorization }, method: 'POST' })).status, 405);
    assert.equal((await get('/api/constructor', { headers: { authorization } })).status, 404);
    const answered = await get('/api/overview', { headers: { authorization } });
    assert.equal(answered.status, 200);
    assert.doesNotMatch(await answered.text(), /PRIVATE KEY|privateKey"/);
    assert.match(
      (await get('/')).headers.get('content-security-policy') ?? '',
      /^default-src 'none'; script-src 'self'/,
    );
    const { page } = await openPage(browser, ui.url.replace(/#.*/, ''));
    await page.getByText('Enter a token to see this page.').waitFor();
    assert.equal(await page.getByRole('alert').count(), 0);
    await page.getByLabel('Token').fill('wrong');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('alert').getByText('the token is missing or not valid').waitFor();
    await page.getByLabel('Token').fill(secret());
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
  });

  it('kubespiffe ui checks its port before it looks for a cluster', async () => {
    const { code, stderr } = await run(['ui', '--port', 'abc']);
    assert.match(stderr, /^error: --port abc is not a port\nhint: give a number from 0 to 65535$/m);
    assert.equal(code, 2);
  });

  it('the web view is refused if a foreign DNS name resolves to this machine', async () => {
    const { port } = new URL(ui.url);
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    request({ port, host: '127.0.0.1', headers: { host: 'attacker.example' } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).end();
    assert.equal(await promise, 421);
  });
});

describe('kubespiffe ui in a cluster', () => {
  const serviceAccounts = '/api/v1/namespaces/kubespiffe/serviceaccounts';
  const roles = ['/apis/rbac.authorization.k8s.io/v1/clusterroles/kubespiffe-view'];
  let view: RunningUi;
  before(async () => {
    await controlPlane.kubectl(['apply', '-f', join(base, '../view/rbac.yaml')]);
    const account = { namespace: 'kubespiffe', name: 'kubespiffe-view' };
    const kubeconfig = await controlPlane.kubeconfigFor(account);
    view = await startUi(['--token-audience', 'kubespiffe-view', '--kubeconfig', kubeconfig]);
  });
  after(() => view?.stop());

  /** A token of a new ServiceAccount, for this audience. */
  async function tokenFor(name: string, audience = 'kubespiffe-view'): Promise<string> {
    await create(controlPlane, serviceAccounts, { metadata: { name, namespace: 'kubespiffe' } });
    const spec = { audiences: [audience] };
    const { status } = await create<{ status: { token: string } }>(
      ...([controlPlane, `${serviceAccounts}/${name}/token`, { spec }] as const),
    );
    return status.token;
  }
  const bind = (name: string) =>
    controlPlane.kubectl([
      ...['create', 'clusterrolebinding', name, '--clusterrole', 'kubespiffe-view-reader'],
      ...['--serviceaccount', `kubespiffe:${name}`],
    ]);
  const statusFor = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(new URL('/api/overview', view.url), { headers })).status;
  };

  it('the web view in a cluster admits only callers with a token for the view and the right to see it', async () => {
    assert.equal(await statusFor(await tokenFor('stranger')), 403);
    await bind('other');
    const { body } = await controlPlane.request('GET', '/.well-known/openid-configuration');
    const { issuer } = body as { issuer: string };
    assert.equal(await statusFor(await tokenFor('other', issuer)), 401);
    await bind('jane');
    const token = await tokenFor('jane');
    assert.equal(await statusFor(token), 200);
    assert.equal(await statusFor(`${token.slice(0, -4)}AAAA`), 401);
    const shown = await fetch(new URL('/api/overview', view.url), {
      headers: { authorization: `Bearer ${token}` },
    });
    const answer = (await shown.json()) as OverviewAnswer;
    assert.match(
      answer.pools[0]?.view.ok === false ? answer.pools[0].view.why : '',
      /cannot get resource "secrets"/,
    );
    assert.ok(answer.bundles.every(({ roots }) => roots.length === 1));
    const { page } = await openPage(browser, `${view.url}authorities#token=${token}`);
    await page.getByText('This page may not read the pool.').waitFor();
  });

  it('the web view in a cluster needs each of its rights', async () => {
    await bind('needed');
    const token = await tokenFor('needed');
    const granted = rolesAt(controlPlane, roles);
    assert.deepEqual(await granted.grants(), ['tokenreviews create', 'subjectaccessreviews create']);
    for (const grant of await granted.grants()) {
      // The answer about a token is remembered for ten seconds.
      await granted.without(grant, () =>
        waitFor('the refusal', async () => (await statusFor(token)) === 502),
      );
      await waitFor('the right', async () => (await statusFor(token)) === 200);
    }
  });
});

describe('kubespiffe ui --credentials', () => {
  let dev: RunningDev;
  let own: RunningUi;
  before(async () => {
    dev = await startDev(['--workload', 'shop/web']);
    const endpoint = [
      '--token-endpoint',
      `${dev.tokenEndpoint}/jwt-svid`,
      '--audience',
      'https://api.example.org',
    ];
    own = await startUi(['--credentials', join(dev.folder, 'shop/web'), ...endpoint]);
  });
  after(async () => {
    await own?.stop();
    await dev?.[Symbol.asyncDispose]();
  });

  it('ui --credentials shows certificate, roots and a decoded JWT-SVID, and never the key or the signature', async () => {
    const { page, wrong } = await openPage(browser, own.url);
    await page.getByRole('heading', { name: 'This pod' }).waitFor();
    await page.getByRole('heading', { name: 'X509-SVID' }).waitFor();
    await page.getByRole('heading', { name: 'Trusts dev.localhost' }).waitFor();
    const { header, claims } = JSON.parse((await page.locator('pre').textContent()) ?? '');
    assert.equal(header.alg, 'ES256');
    assert.equal(claims.sub, 'spiffe://dev.localhost/ns/shop/sa/web');
    assert.equal(claims.aud, 'https://api.example.org');
    const text = (await page.locator('main').textContent()) ?? '';
    assert.ok(text.includes('Kubelet renews it by default'), text);
    assert.ok(text.includes('no registration: it is the default name'), text);
    assert.doesNotMatch(await page.content(), /PRIVATE KEY|eyJ/);
    await screenshot(page, 'ui-own.png');
    assert.deepEqual(wrong, []);
    assert.equal(await page.getByRole('navigation').count(), 0);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { runCli } from '../../tools/cli.ts';
import type { FileObject } from '../../tools/registration/documents.ts';
import { whatIf } from '../../tools/registration/what-if.ts';
import type { Terminal } from '../../tools/terminal.ts';
import { aRegistration, aWirePod, aWorld } from './world.ts';

const good = `
apiVersion: kubespiffe.io/v1alpha1
kind: WorkloadRegistration
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: web
  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/web
`;

/** Lints what a person has in a file. */
async function lint(input: string, ...args: string[]) {
  let output = '';
  const write = (text: string) => {
    output += text;
  };
  const terminal: Terminal = {
    ...{ out: write, err: write, hasColor: false, env: {}, now: Date.now },
    read: async () => Buffer.from(input),
  };
  const code = await runCli(['registration', 'lint', '-', ...args], terminal);
  return { code, output, lines: output.trimEnd().split('\n') };
}

describe('kubespiffe registration lint', () => {
  it('registration lint accepts a good registration', async () => {
    const { code, lines } = await lint(good);
    assert.deepEqual([code, lines], [0, ['1 registration, 0 errors, 0 warnings']]);
  });

  const template = 'spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/web';
  const rows: [what: string, from: string, to: string, line: number, says: RegExp][] = [
    [
      'a template with a condition',
      template,
      'spiffeIDTemplate: "{{ if .X }}"',
      11,
      /error: .*conditions are not supported/,
    ],
    ['an unknown field', '  podSelector', '  podSelectors', 8, /error: .*podSelectors is not a field/],
    ['a missing template', `  ${template}\n`, '', 7, /error: .*spiffeIDTemplate is missing/],
    ['a duration that is too short', `  ${template}`, `  ${template}\n  ttl: 1m`, 12, /error: .*ttl .*1h/],
    [
      'a name of another namespace',
      '{{ .PodMeta.Namespace }}',
      'kube-system',
      11,
      /error: .*not below \/ns\/shop\/; a ClusterRegistrationPolicy can grant .* \(if the cluster has one that does, give it with the files\)/,
    ],
    [
      'the path of the infrastructure',
      'ns/{{ .PodMeta.Namespace }}',
      'kubespiffe',
      11,
      /error: .*reserved for kubespiffe/,
    ],
    ['another version of the API', 'v1alpha1', 'v2', 2, /error: .*apiVersion is kubespiffe\.io\/v2/],
    [
      'a kind that does not exist',
      'kind: Workload',
      'kind: Pod',
      3,
      /error: .*there is no kind PodRegistration/,
    ],
    ['an invalid name', 'name: web', 'name: We_b', 5, /error: .*metadata\.name/],
    [
      'an object of another kind',
      'kubespiffe.io/v1alpha1\nkind: WorkloadRegistration',
      'v1\nkind: Secret',
      3,
      /warning: .*not a registration/,
    ],
  ];
  for (const [what, from, to, line, says] of rows) {
    it(`registration lint names the line of ${what}`, async () => {
      const { code, lines } = await lint(good.replace(from, to));
      assert.match(lines[0] ?? '', new RegExp(`^standard input:${line}: `), lines[0]);
      assert.match(lines[0] ?? '', says);
      assert.equal(code, says.source.startsWith('error') ? 1 : 0);
    });
  }

  it('registration lint finds two registrations that would leave their pods without a name', async () => {
    const { code, lines } = await lint(`${good}---${good.replace('name: web', 'name: api')}`);
    assert.equal(code, 1);
    assert.match(
      lines[0] ?? '',
      /^standard input:\d+: error: WorkloadRegistration shop\/api: .*same pods as shop\/web .*RegistrationAmbiguous/,
    );
    const different = good.replace('name: web', 'name: api').replace('spec:', 'spec:\n  priority: 1');
    assert.equal((await lint(`${good}---${different}`)).code, 0);
  });

  it('registration lint reports a template beside a field that cannot be used', async () => {
    const { lines } = await lint(
      good.replace('.PodMeta.Namespace', '.Pod').replace('spec:', 'spec:\n  ttl: 1m'),
    );
    assert.deepEqual(
      lines.slice(0, -1).map((line) => /:(\d+): error: .*shop\/web: (\w+)/.exec(line)?.slice(1)),
      [
        ['8', 'ttl'],
        ['12', 'spiffeIDTemplate'],
      ],
    );
  });

  it('registration lint does not guess the namespace of a registration without one', async () => {
    const { code, lines } = await lint(good.replace('  namespace: shop\n', ''));
    assert.deepEqual([code, lines], [0, ['1 registration, 0 errors, 0 warnings']]);
  });

  it('registration lint finds a registration that appears twice', async () => {
    const { lines } = await lint(`${good}---${good}`);
    assert.match(lines[0] ?? '', /error: .*shop\/web is in standard input:2 already/);
  });

  it('registration lint counts what a policy in the files grants', async () => {
    const policy = `---
apiVersion: kubespiffe.io/v1alpha1
kind: ClusterRegistrationPolicy
metadata:
  name: default
spec:
  grants:
    - namespaces: [shop]
      pathPrefixes: [/teams/shop/]
`;
    const granted = good.replace('ns/{{ .PodMeta.Namespace }}', 'teams/shop');
    assert.deepEqual((await lint(granted + policy)).lines, ['1 registration, 0 errors, 0 warnings']);
    const { code, lines } = await lint(good.replace('ns/{{ .PodMeta.Namespace }}', 'teams/other') + policy);
    assert.equal(code, 1);
    assert.match(lines[0] ?? '', /error: .*not below \/ns\/shop\/ or \/teams\/shop\//);
  });

  it('registration lint reads a List as JSON, for programs too', async () => {
    const object = {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'ClusterWorkloadRegistration',
      metadata: { name: 'all' },
      spec: { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/x' },
    };
    const input = JSON.stringify({ kind: 'List', apiVersion: 'v1', items: [object] }, null, 1);
    const { output, code } = await lint(input, '-o', 'json');
    assert.equal(code, 1);
    const report = JSON.parse(output);
    assert.equal(report.registrations, 1);
    assert.match(report.problems[0].message, /matchAllPods/);
    const asYaml = await lint(input, '-o', 'yaml');
    assert.match(asYaml.output, /^registrations: 1$/m);
    assert.deepEqual([parse(asYaml.output), asYaml.code], [report, 1]);
  });

  it('registration lint ends with 2, and the line, for a file that is not YAML', async () => {
    const { code, lines } = await lint('kind: [\n');
    assert.equal(code, 2);
    assert.match(lines[0] ?? '', /^error: standard input: line \d+: not valid YAML/);
    assert.match(lines[1] ?? '', /^hint: correct it there or in a line above/);
  });
});

/** The same as a file has it, without a namespace. */
function inFile(spec: object = {}, name = 'web'): FileObject {
  const { metadata: _, ...rest } = aRegistration(name, spec);
  const object = { ...rest, metadata: { name } };
  const { apiVersion, kind } = object;
  return { file: 'web.yaml', apiVersion, kind, name, namespace: undefined, object, lineOf: () => 1 };
}

describe('kubespiffe registration what-if', () => {
  const inShop = { namespace: 'shop', isDeletion: false };
  const other = aWirePod([{}], { metadata: { name: 'api-0', namespace: 'shop', uid: 'u-2' } });

  it('registration what-if lists the pods that change name, and counts the others with a certificate', async () => {
    const plain = aWirePod([], { metadata: { name: 'plain-0', namespace: 'shop', uid: 'u-3' } });
    const world = await aWorld({ pods: [aWirePod(), other, plain] });
    const { changes, unchangedPods, objects } = whatIf(world, [inFile({})], inShop);
    assert.deepEqual(objects, ['WorkloadRegistration shop/web']);
    assert.equal(unchangedPods, 1);
    assert.deepEqual(
      changes.map(({ pod, change, before, after }) => [
        pod,
        change,
        before.names,
        after.names,
        after.registration,
      ]),
      [
        [
          ...['shop/web-0', 'changes'],
          ['spiffe://example.org/ns/shop/sa/web'],
          ['spiffe://example.org/ns/shop/app/web'],
          'shop/web',
        ],
      ],
    );
  });

  it('registration what-if lists a pod that gains a name without a default identity, and one that loses it again', async () => {
    const world = await aWorld({ pods: [aWirePod(), other] }, ['--default-identity', 'none']);
    const gained = whatIf(world, [inFile({})], inShop);
    assert.deepEqual(
      gained.changes.map(({ pod, change, before }) => [pod, change, before.reason]),
      [['shop/web-0', 'gains', 'NotRegistered']],
    );
    const lost = whatIf(world, [inFile({})], { ...inShop, isDeletion: true });
    assert.deepEqual(
      lost.changes.map(({ pod, change, after }) => [pod, change, after.reason]),
      [['shop/web-0', 'loses', 'NotRegistered']],
    );
  });

  it('registration what-if lists a pod that two registrations with the same priority match', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const { changes } = whatIf(world, [inFile({}), inFile({}, 'web-2')], inShop);
    assert.deepEqual(
      changes.map(({ change, after }) => [change, after.reason]),
      [['loses', 'RegistrationAmbiguous']],
    );
  });

  it('registration what-if skips a FederatedTrustDomain, which migrate spire prints beside registrations', async () => {
    const world = await aWorld({});
    const partner = { ...inFile({}), kind: 'FederatedTrustDomain' };
    assert.deepEqual(whatIf(world, [inFile({}), partner], inShop).objects, ['WorkloadRegistration shop/web']);
  });

  it('registration what-if refuses an object that no name depends on', async () => {
    const world = await aWorld({});
    const secret = { ...inFile({}), kind: 'Secret' };
    assert.throws(() => whatIf(world, [secret], inShop), /web\.yaml:1: no name depends on Secret web/);
  });
});

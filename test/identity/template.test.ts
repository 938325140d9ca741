import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  parseTemplate,
  renderTemplate,
  type TemplateValues,
  writtenPart,
} from '../../signer/identity/template.ts';

const values: TemplateValues = {
  '.TrustDomain': 'example.org',
  '.ClusterName': 'eu.one',
  '.PodMeta.Name': 'web-0',
  '.PodMeta.Namespace': 'shop',
  '.PodMeta.UID': 'u-1',
  '.PodSpec.ServiceAccountName': 'web.v2',
  '.PodSpec.NodeName': 'node-1',
  labels: { app: 'web', 'app.kubernetes.io/name': 'front', empty: '', team: 'a.b' },
  annotations: { 'example.org/path': 'a/ns/other', 'example.org/dots': '..' },
};

/** The text of a template, or what is wrong with it. */
function render(source: string, separator: '/' | '.' = '/'): string {
  const template = parseTemplate(source);
  if (!template.ok) return `refused: ${template.reason}`;
  const rendered = renderTemplate(template.value, values, separator);
  return rendered.ok ? rendered.value : `no name: ${rendered.reason}`;
}

describe('a template', () => {
  const rows: [source: string, rendered: string][] = [
    [
      'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}',
      'spiffe://example.org/ns/shop/sa/web.v2',
    ],
    ['{{.PodMeta.Name}}.{{.PodMeta.UID}}.{{.PodSpec.NodeName}}', 'web-0.u-1.node-1'],
    ['{{ .ClusterName }}', 'eu.one'],
    ['a{{ index .PodMeta.Labels "app" }}b', 'awebb'],
    ['{{index .PodMeta.Labels `app.kubernetes.io/name`}}', 'front'],
    ['{{ .PodMeta.Labels.app }}', 'web'],
    ['{{\tindex   .PodMeta.Labels\n"app"\t}}', 'web'],
    ['{ } text', '{ } text'],
    ['', ''],
  ];
  for (const [source, rendered] of rows) {
    it(`a template is rendered: ${JSON.stringify(source)}`, () => assert.equal(render(source), rendered));
  }

  const problems: [source: string, reason: RegExp][] = [
    ['{{', /has "{{" without "}}" after it/],
    ['a{{ .TrustDomain }', /has "{{" without "}}" after it/],
    ['{{ .TrustDomain {{ .PodMeta.Name }}', /has "{{" without "}}" after it/],
    ['{{ index .PodMeta.Labels "app }}', /has "{{" without "}}" after it/],
    ['a }} b', /has "}}" without "{{" before it/],
    ['{{ }}', /which is empty/],
    ['{{- .TrustDomain -}}', /which trims text; remove the "-"/],
    ['{{/* a comment */}}', /comments are not supported/],
    ['{{ .PodMeta.Name | lower }}', /pipelines are not supported/],
    ['{{ if .TrustDomain }}a{{ end }}', /conditions are not supported/],
    ['{{ with .PodMeta }}a{{ end }}', /conditions are not supported/],
    ['{{ range .PodMeta.Labels }}a{{ end }}', /loops are not supported/],
    ['{{ define "x" }}a{{ end }}', /names another template/],
    ['{{ template "x" }}', /names another template/],
    ['{{ $x := .TrustDomain }}', /variables are not supported/],
    ['{{ $.TrustDomain }}', /variables are not supported/],
    ['{{ (index .PodMeta.Labels "app") }}', /expressions are not supported/],
    ['{{ "text" }}', /write it as text outside of the braces/],
    ['{{ 42 }}', /write it as text outside of the braces/],
    ['{{ printf "%s" .TrustDomain }}', /the only one that is supported is index/],
    ['{{ lower .PodMeta.Name }}', /the only one that is supported is index/],
    ['{{ TrustDomain }}', /calls a function/],
    ['{{ index .PodMeta.Labels }}', /index must have the form/],
    ['{{ index .PodMeta.Labels "a" "b" }}', /index must have the form/],
    ['{{ index .PodMeta.Labels app }}', /index must have the form/],
    ['{{ index .PodMeta.Labels .PodMeta.Name }}', /index must have the form/],
    ['{{ index .PodMeta.Labels "a\\u002fb" }}', /index must have the form/],
    ['{{ index .PodSpec "app" }}', /index needs .PodMeta.Labels or .PodMeta.Annotations/],
    ['{{ index .PodMeta.Labels "" }}', /"" cannot be the key of a label/],
    ['{{ index .PodMeta.Labels "a/b/c" }}', /"a\/b\/c" cannot be the key of a label/],
    ['{{ index .PodMeta.Labels "ä" }}', /"ä" cannot be the key of a label/],
    ['{{ .PodMeta.Labels }}', /write {{ index .PodMeta.Labels "KEY" }}/],
    ['{{ .PodMeta.Annotations }}', /write {{ index .PodMeta.Annotations "KEY" }}/],
    ['{{ .TrustDomain .ClusterName }}', /has more than one field/],
    ['{{ . }}', /which is not known; known are .TrustDomain/],
    ['{{ .ClusterDomain }}', /which is not known; known are .TrustDomain/],
    ['{{ .PodMeta.name }}', /which is not known/],
    ['{{ .PodMeta.OwnerReferences }}', /which is not known/],
    ['{{ .NodeMeta.Name }}', /which is not known/],
    ['{{ .TrustDomain. }}', /which is not known/],
    ['{{ .constructor }}', /which is not known/],
    ['x'.repeat(4097), /has 4097 characters; at most 4096/],
  ];
  for (const [source, reason] of problems) {
    it(`a template is refused with a reason: ${source.slice(0, 60)}`, () => {
      assert.match(render(source), /^refused: /);
      assert.match(render(source), reason);
    });
  }

  const nameless: [source: string, separator: '/' | '.', reason: string][] = [
    ['{{ index .PodMeta.Labels "tier" }}', '/', 'the pod has no label tier'],
    ['{{ index .PodMeta.Labels "constructor" }}', '/', 'the pod has no label constructor'],
    ['{{ index .PodMeta.Labels "empty" }}', '/', 'the label empty is empty'],
    [
      '{{ index .PodMeta.Annotations "example.org/none" }}',
      '/',
      'the pod has no annotation example.org/none',
    ],
    [
      'x{{ index .PodMeta.Annotations "example.org/path" }}',
      '/',
      'the annotation example.org/path is "a/ns/other", and no value may contain "/"',
    ],
    ['{{ index .PodMeta.Labels "team" }}.a', '.', 'the label team is "a.b", and no value may contain "."'],
    [
      '{{ .PodSpec.ServiceAccountName }}.a',
      '.',
      'the .PodSpec.ServiceAccountName is "web.v2", and no value may contain "."',
    ],
  ];
  for (const [source, separator, reason] of nameless) {
    it(`a template gives no name, and reports why: ${source} in a name of "${separator}"`, () => {
      assert.equal(render(source, separator), `no name: ${reason}`);
    });
  }

  it('a template may put a cluster name with dots into a DNS name, because the administrator chose it', () => {
    assert.equal(render('web.{{ .ClusterName }}', '.'), 'web.eu.one');
  });

  it('a template is the same after its parts are written again', () => {
    const key = fc.stringMatching(/^([a-z0-9]{1,5}\/)?[A-Za-z0-9]([-\w.]{0,5}[A-Za-z0-9])?$/);
    const part = fc.oneof(
      fc.record({ kind: fc.constant('text' as const), text: fc.stringMatching(/^[^{}]{1,10}$/) }),
      fc.record({
        kind: fc.constant('field' as const),
        field: fc.constantFrom(
          '.TrustDomain' as const,
          '.PodMeta.Name' as const,
          '.PodSpec.NodeName' as const,
        ),
      }),
      fc.record({ kind: fc.constantFrom('label' as const, 'annotation' as const), key }),
    );
    const parts = fc
      .array(part)
      .filter((all) => all.every(({ kind }, at) => kind !== 'text' || all[at - 1]?.kind !== 'text'));
    fc.assert(
      fc.property(parts, (template) => {
        const read = parseTemplate(template.map(writtenPart).join(''));
        assert.deepEqual(
          read.ok && read.value,
          template.map((each) => ({ ...each })),
        );
      }),
    );
  });

  it('a template never throws, and never renders a value that adds a segment', () => {
    const source = fc
      .array(
        fc.constantFrom(
          '{{',
          '}}',
          ' ',
          '.PodMeta',
          '.Labels',
          '.Name',
          'index',
          '"',
          '`',
          'app',
          '/',
          '|',
          '(',
        ),
      )
      .map((words) => words.join(''));
    fc.assert(
      fc.property(fc.oneof(source, fc.string()), fc.string(), (template, value) => {
        const read = parseTemplate(template);
        if (!read.ok) return;
        const rendered = renderTemplate(
          read.value,
          { ...values, '.PodMeta.Name': value, labels: { app: value } },
          '/',
        );
        if (!rendered.ok) return;
        const text = read.value.map((each) => (each.kind === 'text' ? each.text : '')).join('');
        assert.equal(rendered.value.split('/').length, text.split('/').length);
      }),
      { numRuns: 500 },
    );
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxy, proxyFromEnvironment } from '../../client/proxy-environment.ts';

const proxied = (url: string, env: Record<string, string>) =>
  proxyFromEnvironment(new URL(url), env)?.href ?? 'direct';

test('a proxy is taken from the variable of the scheme, in upper case before lower case', () => {
  const both = { HTTPS_PROXY: 'http://upper:1', https_proxy: 'http://lower:1', HTTP_PROXY: 'http://plain:1' };
  const rows: [url: string, env: Record<string, string>, expected: string][] = [
    ['https://a.example', both, 'http://upper:1/'],
    ['https://a.example', { https_proxy: 'http://lower:1' }, 'http://lower:1/'],
    ['http://a.example', both, 'http://plain:1/'],
    ['https://a.example', { HTTP_PROXY: 'http://plain:1' }, 'direct'],
    ['https://a.example', { ALL_PROXY: 'http://all:1' }, 'direct'],
    ['https://a.example', { HTTPS_PROXY: '' }, 'direct'],
    ['https://a.example', { HTTPS_PROXY: 'proxy.example:3128' }, 'http://proxy.example:3128/'],
    ['https://a.example', { HTTPS_PROXY: 'https://u:p@proxy.example' }, 'https://u:p@proxy.example/'],
  ];
  for (const [url, env, expected] of rows) assert.equal(proxied(url, env), expected, JSON.stringify(env));
});

/** As golang.org/x/net/http/httpproxy documents it, and its own tests have it. */
test('NO_PROXY takes names, suffixes, addresses, blocks, ports and *, as in Go', () => {
  const rows: [noProxy: string, url: string, isDirect: boolean][] = [
    ['', 'https://localhost:6443', true],
    ['', 'https://127.1.2.3', true],
    ['', 'https://[::1]', true],
    ['', 'https://10.0.0.1', false],
    ['*', 'https://a.example', true],
    ['example.org', 'https://example.org', true],
    ['example.org', 'https://EXAMPLE.org', true],
    ['EXAMPLE.org', 'https://a.example.org', true],
    ['example.org', 'https://notexample.org', false],
    ['.example.org', 'https://example.org', false],
    ['.example.org', 'https://a.example.org', true],
    ['*.example.org', 'https://a.example.org', true],
    ['*.example.org', 'https://example.org', false],
    ['example.org:6443', 'https://example.org:6443', true],
    ['example.org:6443', 'https://example.org', false],
    ['example.org:443', 'https://example.org', true],
    ['10.0.0.1', 'https://10.0.0.1', true],
    ['10.0.0.1:6443', 'https://10.0.0.1:443', false],
    ['10.96.0.0/16', 'https://10.96.0.1', true],
    ['10.96.0.0/16', 'https://10.97.0.1', false],
    ['10.96.0.0/16', 'https://name.example', false],
    ['fd00::/8', 'https://[fd12::1]', true],
    ['fd00::1', 'https://[fd00::1]:6443', true],
    ['[fd00::1]:6443', 'https://[fd00::1]:6443', true],
    ['[fd00::1]:6443', 'https://[fd00::1]', false],
    [' a.example , ,b.example', 'https://b.example', true],
    ['10.96.0.0/99', 'https://10.96.0.1', false],
  ];
  for (const [NO_PROXY, url, isDirect] of rows) {
    const expected = isDirect ? 'direct' : 'http://p:1/';
    assert.equal(proxied(url, { HTTPS_PROXY: 'http://p:1', NO_PROXY }), expected, `${NO_PROXY} ${url}`);
    assert.equal(proxied(url, { https_proxy: 'http://p:1', no_proxy: NO_PROXY }), expected, NO_PROXY);
  }
});

test('a proxy that cannot be used is refused by name, without its credentials', () => {
  const rows: [text: string, source: string, expected: RegExp][] = [
    ['socks5://u:s3cr3t@p:1', 'HTTPS_PROXY', /^HTTPS_PROXY names a socks5 proxy, and only http and https/],
    ['ftp://u:s3cr3t@p', 'proxy-url', /^proxy-url names a ftp proxy/],
    ['http://u:s3cr3t@p:port', 'HTTPS_PROXY', /^HTTPS_PROXY is not the URL of a proxy$/],
    ['u:s3cr3t', 'proxy-url', /^proxy-url /],
    ['http://u:s3cr3t%@p', 'HTTPS_PROXY', /^HTTPS_PROXY has a % in its user name or password/],
  ];
  for (const [text, source, expected] of rows) {
    assert.throws(
      () => parseProxy(text, source),
      (error: Error) => {
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /s3cr3t/);
        return true;
      },
    );
  }
});

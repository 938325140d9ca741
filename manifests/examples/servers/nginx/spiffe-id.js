// For njs: the SPIFFE ID of a client whose certificate nginx has verified. Empty if it has none, or more than one URI.
const extensions = 0xa3;
const uri = 0x86;
const subjectAltName = '551d11';

// Elements of DER between two offsets. nginx has verified the certificate, so its DER is well-formed.
function elements(der, from, to) {
  const found = [];
  while (from < to) {
    const tag = der[from];
    let length = der[from + 1];
    let start = from + 2;
    if (length & 0x80) {
      const bytes = length & 0x7f;
      length = der.readUIntBE(start, bytes);
      start += bytes;
    }
    found.push({ tag: tag, start: start, end: start + length });
    from = start + length;
  }
  return found;
}

function id(request) {
  const pem = request.variables.ssl_client_raw_cert;
  if (!pem || request.variables.ssl_client_verify !== 'SUCCESS') return '';
  const der = Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64');
  const inside = (element) => elements(der, element.start, element.end);
  const certificate = elements(der, 0, der.length)[0];
  const wrapper = inside(inside(certificate)[0]).filter((element) => element.tag === extensions)[0];
  if (!wrapper) return '';
  const names = inside(inside(wrapper)[0])
    .map(inside)
    .filter((extension) => der.toString('hex', extension[0].start, extension[0].end) === subjectAltName)
    .map((extension) => inside(inside(extension[extension.length - 1])[0]));
  const uris = names.length === 1 ? names[0].filter((name) => name.tag === uri) : [];
  return uris.length === 1 ? der.toString('utf8', uris[0].start, uris[0].end) : '';
}

// njs imports the default export.
// biome-ignore lint/style/noDefaultExport: see above
export default { id };

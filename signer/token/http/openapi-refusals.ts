import { type RefusalCode, refusals, sentenceOf } from '../../observe/refusals.ts';

/** What only `/token` can be refused for, as only it is a form with parameters. */
const ofExchangeAlone: readonly RefusalCode[] = [
  'ParameterMissing',
  'ParameterRepeated',
  'GrantTypeUnsupported',
  'TokenTypeUnsupported',
];
/** What only a client certificate can be refused for, which stands in for a token at `/jwt-svid` alone. */
const ofCertificates: readonly RefusalCode[] = [
  'CredentialMissing',
  'CertificateMalformed',
  'CertificateUntrusted',
  'CertificateTainted',
  'CertificateExpired',
  'CertificateNotYetValid',
  'CertificateNotSvid',
  'CertificateOfInfrastructure',
  'CertificateWithoutPod',
  'CertificateNotOfPod',
];
/** What a document that everybody may read can be refused for. */
const ofDocuments: readonly RefusalCode[] = ['NotReady', 'AddressLimited', 'Overloaded', 'Fault'];

/** What only requests for JWT-SVIDs can be refused for, as only they have an audience and parameters. */
const ofTokensAlone: readonly RefusalCode[] = [
  'ParameterUnsupported',
  'AudienceMissing',
  'AudienceMalformed',
  'AudienceTooMany',
  'AudienceForbidden',
  'AudienceNotAllowed',
];
/** What only requests for X509-SVIDs can be refused for. */
const ofX509Alone: readonly RefusalCode[] = [
  'RouteUnknown',
  'CsrUnreadable',
  'CsrSignatureInvalid',
  'UnsupportedKeyType',
];

const allCodes = Object.keys(refusals) as RefusalCode[];
const without = (codes: readonly RefusalCode[], ...left: RefusalCode[]) =>
  codes.filter((code) => !left.includes(code));
const ofTokens = without(allCodes, ...ofX509Alone);
const ofExchange = without(ofTokens, ...ofCertificates);
const ofShortForm = without(ofTokens, ...ofExchangeAlone);
const ofX509: readonly RefusalCode[] = [
  ...ofX509Alone,
  ...without(ofShortForm, ...ofTokensAlone, ...ofCertificates),
];

/** What each kind of operation can be refused for. */
export const refusedFor = {
  exchange: ofExchange,
  shortForm: ofShortForm,
  x509Svid: ofX509,
  documents: ofDocuments,
} as const;

export const json = (schema: object) => ({ 'application/json': { schema } });
export const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
export const header = (description: string) => ({ description, schema: { type: 'string' } });

/** One response for each status, which names the reasons that it may have: the table of refusals, turned over. */
export function refusalResponses(codes: readonly RefusalCode[]): Record<string, object> {
  const byStatus = Map.groupBy(codes, (code) => refusals[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, reasons]) => [
      String(status),
      {
        description: reasons.map((code) => `${code}: ${sentenceOf(code)}`).join('\n\n'),
        ...(reasons.some((code) => refusals[code].verdict === 'wait') && {
          headers: { 'Retry-After': header('Seconds after which the same request may be repeated') },
        }),
        content: json({
          allOf: [reference('Refusal'), { properties: { reason: { enum: reasons } } }],
        }),
      },
    ]),
  );
}

/** What the HTTP parser cuts before there is a request, in the same form. */
export const cutResponses = {
  '408': { description: 'The request took longer than 10 s', content: json(reference('Refusal')) },
  '431': { description: 'The headers are larger than 16 KiB', content: json(reference('Refusal')) },
};

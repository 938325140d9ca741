// Writes manifests/monitoring/dashboard.yaml, a dashboard for Grafana, from scripts/dashboard/panels.ts. A test says when
// it has to be run again.
import { writeFile } from 'node:fs/promises';
import { type Panel, rows } from './dashboard/panels.ts';

const file = new URL('../manifests/monitoring/dashboard.yaml', import.meta.url);

const datasource = { type: 'prometheus', uid: '$datasource' };
const panelsInLine = 4;
const size = { w: 24 / panelsInLine, h: 7 };

/** The dashboard as Grafana imports it. */
export function dashboard() {
  const panels: object[] = [];
  let y = 0;
  for (const [row, ofRow] of Object.entries(rows)) {
    panels.push({ id: panels.length + 1, type: 'row', title: row, gridPos: { x: 0, y, w: 24, h: 1 } });
    y += 1;
    for (const [index, panel] of ofRow.entries()) {
      const x = (index % panelsInLine) * size.w;
      const line = Math.floor(index / panelsInLine);
      panels.push({
        id: panels.length + 1,
        ...panelOf(panel),
        gridPos: { x, y: y + line * size.h, ...size },
      });
    }
    y += Math.ceil(ofRow.length / panelsInLine) * size.h;
  }
  return {
    uid: 'kubespiffe',
    title: 'kubespiffe',
    tags: ['kubespiffe', 'spiffe'],
    schemaVersion: 39,
    timezone: 'utc',
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' },
        {
          ...{ name: 'signer', type: 'query', label: 'Signer', datasource },
          ...{ query: 'label_values(kubespiffe_can_sign, signer)', refresh: 2 },
          ...{ multi: true, includeAll: true, allValue: '.*' },
        },
      ],
    },
    panels,
  };
}

function panelOf({ title, unit, about, queries, now }: Panel) {
  return {
    type: now ? 'stat' : 'timeseries',
    title,
    ...(about && { description: about }),
    datasource,
    fieldConfig: { defaults: { unit }, overrides: [] },
    targets: Object.entries(queries).map(([legendFormat, expr], index) => ({
      refId: String.fromCharCode(65 + index),
      expr,
      legendFormat,
      ...(now && { instant: true }),
    })),
  };
}

/** The ConfigMap, with the label that the sidecar of the Grafana chart looks for. */
export function dashboardManifest(): string {
  const json = JSON.stringify(dashboard(), null, 1).replaceAll(/^/gm, '    ');
  return `# Written by scripts/dashboard.ts. The sidecar of the Grafana chart loads it: that looks for the label grafana_dashboard.
apiVersion: v1
kind: ConfigMap
metadata:
  name: kubespiffe-dashboard
  namespace: kubespiffe
  labels:
    app.kubernetes.io/name: kubespiffe
    grafana_dashboard: "1"
data:
  kubespiffe.json: |
${json}
`;
}

if (import.meta.main) await writeFile(file, dashboardManifest());

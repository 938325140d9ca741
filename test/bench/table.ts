/** One row of the table. `met` is undefined where the figure is there to be known and has no limit. */
export interface Figure {
  readonly figure: string;
  readonly measured: string;
  readonly limit: string;
  readonly ceiling: string;
  readonly met: boolean | undefined;
}

const headings = ['figure', 'measured', 'limit', 'ceiling in this run', 'verdict'];

/** The table for people: columns aligned, a line under the headings. */
export function renderTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ figure, measured, limit, ceiling, met }) => [
    figure,
    measured,
    limit,
    ceiling,
    met === undefined ? '' : met ? 'met' : 'MISSED',
  ]);
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(' | ')
      .trimEnd();
  return [line(headings), widths.map((width) => '-'.repeat(width)).join('-|-'), ...rows.map(line)].join('\n');
}

/** RFC 3339 with microseconds, as the API wants its MicroTime. */
export function microTime(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, -1)}000Z`;
}

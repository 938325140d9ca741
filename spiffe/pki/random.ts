/** How much is drawn at once, in octets. */
const poolOctets = 4096;

/**
 * A source of random octets that draws from another one in large pieces: the system's generator takes some ten
 * microseconds however little is asked of it, a third of what a signature takes. Each octet is given out once.
 */
export function createRandomPool(random: (octets: number) => Uint8Array): (octets: number) => Uint8Array {
  let pool = new Uint8Array(0);
  let used = 0;
  return (octets) => {
    if (used + octets > pool.length) {
      pool = Uint8Array.from(random(Math.max(poolOctets, octets)));
      used = 0;
    }
    used += octets;
    return pool.slice(used - octets, used);
  };
}

import { Agent } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { SignJWT } from 'jose';
import { claimsOf, type TokenFacts } from '../token/caller/bad-tokens.ts';
import { callOver } from './token-endpoint.ts';

/** So many callers from one address, within the endpoint's limit of connections from one. */
const perAddress = 250;

/**
 * Keeps so many token requests under way until it is stopped, each with a ServiceAccount token of its own. The callers
 * come from as many loopback addresses as the endpoint's limits ask for.
 *
 * @param facts of a pod, for tokens of RS256.
 */
export function floodTokens(
  endpoint: { readonly port: number; readonly ca: readonly string[] },
  facts: TokenFacts,
  callers: number,
): { connected(): number; stop(): Promise<void> } {
  let isOn = true;
  const agents = Array.from(
    { length: Math.ceil(callers / perAddress) },
    (_, index) =>
      new Agent({
        ca: [...endpoint.ca],
        keepAlive: true,
        servername: 'localhost',
        localAddress: `127.0.0.${index + 2}`,
        maxSockets: perAddress,
      }),
  );

  async function call(agent: Agent): Promise<void> {
    const token = await new SignJWT(claimsOf(facts))
      .setProtectedHeader({ alg: 'RS256', kid: facts.kid })
      .sign(facts.key);
    await callOver(agent, endpoint.port, {
      method: 'POST',
      path: '/jwt-svid',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ audience: ['https://api.example.com'] }),
    });
  }

  const running = Array.from({ length: callers }, async (_, index) => {
    const agent = agents[index % agents.length];
    // A call that is cut off by the end of the flood fails.
    while (isOn && agent) await call(agent).catch(() => undefined);
  });
  return {
    connected: () => agents.flatMap(({ sockets }) => Object.values(sockets).flat()).filter(isSecure).length,
    async stop() {
      isOn = false;
      for (const agent of agents) agent.destroy();
      await Promise.all(running);
    },
  };
}

function isSecure(socket: Socket | undefined): boolean {
  return socket instanceof TLSSocket && socket.authorized;
}

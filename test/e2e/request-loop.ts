import { setTimeout as sleep } from 'node:timers/promises';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { asNode } from '../cluster/admin.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { answerTo, create } from '../contract/workloads.ts';
import { certificateRequest, joinNode, requestsPath } from '../manifests/nodes.ts';

/** Between two requests, in milliseconds. */
const restMs = 100;

export interface RequestLoop {
  /** Ends the loop. @returns what became of its requests. */
  stop(): Promise<{ issued: number; failures: string[]; slowestMs: number }>;
}

/**
 * Asks for a certificate again and again, one request after the other, as the kubelet of a node without containers.
 *
 * @param onIssued called with each chain (PEM), and when it was asked for (performance.now()).
 */
export async function startRequestLoop(
  controlPlane: ControlPlane,
  node: string,
  onIssued: (chain: string, askedAtMs: number) => void = () => {},
): Promise<RequestLoop> {
  const { newPod } = await joinNode(controlPlane, node);
  const facts = await newPod(`on-${node}`);
  const asThisNode = { ...asNode, 'impersonate-user': `system:node:${node}` };
  const failures: string[] = [];
  let issued = 0;
  let slowestMs = 0;
  let isStopped = false;

  async function ask(): Promise<void> {
    const wanted = await certificateRequest(facts);
    const asked = performance.now();
    const request = await create<PodCertificateRequest>(controlPlane, requestsPath(), wanted, asThisNode);
    const { conditions = [], certificateChain = '' } = await answerTo(controlPlane, request);
    slowestMs = Math.max(slowestMs, performance.now() - asked);
    const [condition] = conditions;
    if (condition?.type !== 'Issued') throw new Error(`${condition?.type}: ${condition?.message}`);
    issued += 1;
    onIssued(certificateChain, asked);
  }

  const ended = (async () => {
    while (!isStopped) {
      await ask().catch((error: Error) => failures.push(error.message));
      await sleep(restMs);
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await ended;
      return { issued, failures, slowestMs };
    },
  };
}

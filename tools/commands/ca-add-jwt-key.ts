import { addJwtKey, type NewJwtKey, newJwtKeys } from '../../signer/authority/create-jwt.ts';
import { dateTransitions } from '../../signer/authority/transitions.ts';
import { savePool, serverClock, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand, choice } from '../command.ts';
import { poolInvalid } from '../errors.ts';
import {
  checkedPool,
  documentIn,
  type PoolOptions,
  requireSecret,
  withAllowUnusable,
  withSecretName,
} from '../pool/pool-secret.ts';
import { beginRecord } from '../pool/signed-until.ts';

interface Options extends PoolOptions {
  type: NewJwtKey;
  allowUnusable?: true;
}

/** `kubespiffe ca add-jwt-key`: one more key for JWT-SVIDs in an existing pool. */
export const caAddJwtKey: AddCommand = (parent, terminal) =>
  addCommand(parent, 'add-jwt-key', {
    description:
      'Add a key for JWT-SVIDs to an existing pool.\n\n' +
      'It is published at once. If no key of its type is active, it becomes the active one, and signs once every verifier\n' +
      'can have it (15 min unless configured). If one is active, the new key is kept in reserve.',
    examples: `
    # For Microsoft Entra, which accepts RS256 only
    kubespiffe ca add-jwt-key --type rs256`,
    options: [withSecretName, withCluster, withAllowUnusable],
  })
    .addOption(choice('--type <type>', 'Type of the key.', Object.keys(newJwtKeys), 'es256'))
    .action(async (options: Options) => {
      const { namespace, name, type: key } = options;
      const added = await withApi(options, terminal, async (api) => {
        const clock = serverClock(api);
        const secret = await requireSecret(api, options);
        const before = documentIn(secret);
        const { trustDomain } = before;
        if (trustDomain === undefined) {
          const hint = 'name the pool of a trust domain with --name';
          throw poolInvalid('the pool has no trust domain, so it signs no tokens', hint);
        }
        // Dated by a slow clock, the key would sign before those who verify tokens know it.
        const now = clock() ?? Math.floor(terminal.now() / 1000);
        const result = await addJwtKey(before, { key, now });
        const document = dateTransitions(result.pool, { pool: before }, now);
        // Neither a pool that was broken before nor one that would be is written.
        const pool = checkedPool(document, now, options);
        const made = document.authorities.filter(({ id }) => id === result.added.id);
        await beginRecord(api, terminal, options, made, { trustDomain, now, isNewPool: false });
        await savePool(api, options, secret, document);
        return { ...result.added, sequence: document.sequence, kid: pool.jwt.at(-1)?.kid ?? '' };
      });
      terminal.out(
        `secret/${name} changed in namespace ${namespace}, sequence ${added.sequence}\n` +
          `authority ${added.id}: ${added.state}, for ${key.toUpperCase()} tokens, kid ${added.kid}\n`,
      );
    });

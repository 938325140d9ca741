// Writes docs/reference/configuration.md from the tables of settings. A test says when it has to be run again.
import { writeFile } from 'node:fs/promises';
import { referenceText } from '../signer/config/help.ts';
import { table } from '../signer/config/table.ts';

await writeFile(new URL('../docs/reference/configuration.md', import.meta.url), referenceText(table));

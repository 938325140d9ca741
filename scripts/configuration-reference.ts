// Writes docs/reference/configuration.md from the table of settings. A test says when it has to be run again.
import { writeFile } from 'node:fs/promises';
import { referenceText } from '../signer/config/help.ts';

await writeFile(new URL('../docs/reference/configuration.md', import.meta.url), referenceText());

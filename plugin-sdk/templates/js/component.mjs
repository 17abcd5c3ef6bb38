// Makes the component margin_apart.wasm of margin_apart.js with its interpreter.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const { component } = await componentize({
  sourcePath: 'margin_apart.js',
  witPath: 'wit',
  worldName: 'plugin',
  // What is not disabled imports WASI, which the sandbox refuses.
  disableFeatures: ['clocks', 'fetch-event', 'http', 'random', 'stdio'],
});
await writeFile('margin_apart.wasm', component);

// Unsure samples that lie far apart.
//
// The `factor * batch` samples with the smallest margin between their two most probable classes are kept. Of these the
// least certain is picked first; each next pick is the one whose embedding is farthest from all picks so far.
//
// Replace this text with your formula and your citation. `querist plugin build` makes the package; wit/strategy.wit has
// every type and call with its documentation. Rows, scores and arrays are the host's, and its kernels do the work.

import { Mask } from 'querist:strategy/arrays@1.1.0';
import { Nearest, Points } from 'querist:strategy/engines@1.1.0';
import { uncertainty } from 'querist:strategy/kernels@1.1.0';
import { info, input, progress } from 'querist:strategy/query@1.1.0';

const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    factor: {
      type: 'integer',
      minimum: 1,
      maximum: 1000,
      default: 10,
      description: 'Samples kept for the second step, as a multiple of the batch.',
    },
  },
};
const NEEDS = ['logits', 'embeddings'];

// What the host calls. Parameters come as JSON, checked against the schema and with every default.
export const strategies = {
  describe() {
    const strategy = {
      id: 'margin-apart',
      summary: 'Samples with small margins whose embeddings lie far apart',
      paper: 'Example of the plugin kit; no paper',
      scorer: false,
      needs: NEEDS,
      schema: SCHEMA,
    };
    return JSON.stringify({ package: 'margin-apart', version: '0.1.0', api: '1.1', strategies: [strategy] });
  },

  needs() {
    return NEEDS;
  },

  score() {
    throw { tag: 'unknown', val: 'margin-apart selects from the whole pool' };
  },

  select(_id, params, _state) {
    const asked = info();
    const wanted = Math.min(asked.batch, asked.rows);
    const kept = Math.min(wanted * JSON.parse(params).factor, asked.rows);
    const [unsure, second] = uncertainty(input('logits'), 'margin');
    const candidates = unsure.top(second, kept, undefined);

    const points = Points.of(input('embeddings').gather(candidates));
    const nearest = Nearest.over(points, 'euclidean');
    const taken = Mask.of(kept);
    // Candidate 0 is the least certain of all.
    const picks = [0];
    while (picks.length < wanted) {
      const last = Uint32Array.of(picks.at(-1));
      nearest.add(last);
      taken.exclude(last);
      const farthest = nearest.farthest(taken);
      if (farthest === undefined || farthest[1] <= 0) break;
      picks.push(farthest[0]);
      progress(BigInt(picks.length), BigInt(wanted));
    }
    const rows = picks.map((pick) => candidates[pick]);
    // What is left coincides with picks: the least certain first.
    const missing = wanted - rows.length;
    const rest = [...unsure.top(second, wanted, undefined)].filter((row) => !rows.includes(row));
    rows.push(...rest.slice(0, missing));
    return { rows: Uint32Array.from(rows), scores: new Float64Array(0), diagnostics: [['fallback_count', missing]] };
  },
};

// Answers some tasks of the reference suite, in JavaScript for Node with nothing installed: what another language needs to join.
//
//     minidiff verify run -- node answer.mjs          (a process: one JSON object a line)
//     minidiff verify export tasks && node answer.mjs tasks && minidiff verify check tasks          (files)
//
// The first half reads requests and arrays; the second half is the implementation that is verified. Its numbers are float64, as all of
// JavaScript's are. reference/PROTOCOL.md says what a request looks like.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

// -- safetensors: the length of the header, the header in JSON, the numbers -------------------------------------------

const KINDS = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array };

function readArrays(path) {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const copy = new Uint8Array(bytes.subarray(8 + length + start, 8 + length + end)).buffer; // aligned
    arrays[name] = { shape, data: Float64Array.from(new KINDS[dtype](copy), Number) };
  }
  return arrays;
}

function writeArrays(path, arrays) {
  const header = {};
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    header[name] = { dtype: "F64", shape, data_offsets: [offset, (offset += 8 * data.length)] };
  }
  let json = JSON.stringify(header);
  json += " ".repeat((8 - (json.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const numbers = Object.values(arrays).map(({ data }) => Buffer.from(Float64Array.from(data).buffer));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat([length, Buffer.from(json), ...numbers]));
}

// -- the implementation that is verified ------------------------------------------------------------------------------

class Skip extends Error {}

const like = ({ shape, data }, f) => ({ shape, data: data.map(f) });
const pair = (value) => (Array.isArray(value) ? (value.length > 1 ? value : [value[0], value[0]]) : [value, value]);

function conv2d({ input: x, weight: w, bias }, { stride, padding, dilation, groups }) { // the sum over taps, no kernel is flipped
  if (typeof padding === "string") throw new Skip("padding by name");
  if (x.shape.length !== 4) throw new Skip("conv2d without a batch");
  const [step, pad, apart] = [stride, padding, dilation].map(pair);
  const [samples, , ...size] = x.shape;
  const [outputs, channels, ...kernel] = w.shape;
  const [height, width] = [0, 1].map((i) => Math.floor((size[i] + 2 * pad[i] - apart[i] * (kernel[i] - 1) - 1) / step[i]) + 1);
  const data = [];
  for (let n = 0; n < samples; n++)
    for (let o = 0; o < outputs; o++)
      for (let row = 0; row < height; row++)
        for (let column = 0; column < width; column++) {
          let sum = bias ? bias.data[o] : 0;
          for (let c = 0; c < channels; c++)
            for (let i = 0; i < kernel[0]; i++)
              for (let j = 0; j < kernel[1]; j++) {
                const [r, s] = [row * step[0] - pad[0] + i * apart[0], column * step[1] - pad[1] + j * apart[1]];
                if (r < 0 || s < 0 || r >= size[0] || s >= size[1]) continue;
                const channel = Math.floor(o / (outputs / groups)) * channels + c;
                sum += x.data[((n * x.shape[1] + channel) * size[0] + r) * size[1] + s]
                  * w.data[((o * channels + c) * kernel[0] + i) * kernel[1] + j];
              }
          data.push(sum);
        }
  return { shape: [samples, outputs, height, width], data };
}

function groupNorm({ input: x, weight, bias }, { num_groups: groups, eps }) {
  const channels = x.shape[1];
  const positions = x.data.length / x.shape[0] / channels;
  const size = (channels / groups) * positions;
  const data = [];
  for (let first = 0; first < x.data.length; first += size) {
    const group = x.data.subarray(first, first + size);
    const mean = group.reduce((sum, v) => sum + v, 0) / size;
    const variance = group.reduce((sum, v) => sum + (v - mean) ** 2, 0) / size;
    group.forEach((v, i) => {
      const channel = (Math.floor((first + i) / positions)) % channels;
      data.push(((v - mean) / Math.sqrt(variance + eps)) * (weight ? weight.data[channel] : 1) + (bias ? bias.data[channel] : 0));
    });
  }
  return { shape: x.shape, data };
}

function softmax({ input: x }, { dim }) {
  const axis = dim < 0 ? dim + x.shape.length : dim;
  const inner = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const data = new Float64Array(x.data.length);
  for (let first = 0; first < data.length; first++) {
    if (Math.floor(first / inner) % x.shape[axis]) continue; // not the first of its row
    const places = Array.from({ length: x.shape[axis] }, (_, i) => first + i * inner);
    const largest = Math.max(...places.map((p) => x.data[p]));
    const powers = places.map((p) => Math.exp(x.data[p] - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    places.forEach((p, i) => { data[p] = powers[i] / total; });
  }
  return { shape: x.shape, data };
}

function levels({ name, beta_schedule, num_train_timesteps: T, beta_start, beta_end, rescale_betas_zero_snr }) { // abar_t
  if (name !== "Schedule" || rescale_betas_zero_snr || !["linear", "scaled_linear"].includes(beta_schedule)) throw new Skip("another process");
  const [first, last, power] = beta_schedule === "linear" ? [beta_start, beta_end, 1] : [Math.sqrt(beta_start), Math.sqrt(beta_end), 2];
  let abar = 1;
  return Array.from({ length: T }, (_, t) => (abar *= 1 - (first + ((last - first) * t) / Math.max(T - 1, 1)) ** power));
}

function ddim({ x, noise }, settings) { // on Gaussian data, whose perfect model is known
  const { process, times, model: { kind, mean, std }, eta, clip_denoised, rederive_epsilon, states, set_alpha_to_one } = settings;
  if (kind !== "gaussian") throw new Skip("another model than gaussian");
  if (states || (clip_denoised && !rederive_epsilon)) throw new Skip("states on the way, an eps that is kept");
  if (!times.every(Number.isInteger)) throw new Skip("times between the integers");
  const abar = levels(process);
  let draws = 0;
  let { data } = x;
  times.forEach((t, k) => {
    const from = abar[t];
    const to = k + 1 < times.length ? abar[times[k + 1]] : set_alpha_to_one ? 1 : abar[0];
    const sigma = eta * Math.sqrt(((1 - to) / (1 - from)) * (1 - from / to)); // Song et al. 2021, Eq. 16
    const z = sigma > 0 ? noise.data.subarray(draws * data.length, ++draws * data.length) : null;
    const gain = (Math.sqrt(from) * std ** 2) / (from * std ** 2 + 1 - from);
    data = data.map((value, i) => {
      const predicted = mean + gain * (value - Math.sqrt(from) * mean);
      const start = clip_denoised ? Math.min(Math.max(predicted, -1), 1) : predicted;
      const eps = (value - Math.sqrt(from) * start) / Math.sqrt(1 - from);
      return Math.sqrt(to) * start + Math.sqrt(1 - to - sigma ** 2) * eps + (z ? sigma * z[i] : 0); // Eq. 12
    });
  });
  return { shape: x.shape, data };
}

const OPERATIONS = {
  conv2d,
  ddim,
  group_norm: groupNorm,
  relu: ({ input }) => like(input, (v) => Math.max(v, 0)),
  silu: ({ input }) => like(input, (v) => v / (1 + Math.exp(-v))),
  softmax,
};

// -- one request, one answer ------------------------------------------------------------------------------------------

function answer({ seq = 0, case: id, operation, settings, inputs, outputs }, folder = "") {
  try {
    if (!(operation in OPERATIONS)) throw new Skip("not in this example");
    writeArrays(join(folder, outputs), { output: OPERATIONS[operation](readArrays(join(folder, inputs)), settings) });
    return { seq, case: id, status: "done" };
  } catch (error) {
    return error instanceof Skip ? { seq, case: id, status: "skipped", reason: error.message }
      : { seq, case: id, status: "error", context: String(error.stack) };
  }
}

const [, , folder] = process.argv;
if (folder !== undefined) {
  writeFileSync(join(folder, "answers.jsonl"), "");
  for (const line of readFileSync(join(folder, "tasks.jsonl"), "utf8").split("\n").filter(Boolean)) {
    appendFileSync(join(folder, "answers.jsonl"), `${JSON.stringify(answer(JSON.parse(line), folder))}\n`);
  }
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (request.cmd === "stop") break;
    const reply = request.cmd === "start" ? { version: 1, implementation: { name: "the example in JavaScript", language: "JavaScript" } } : answer(request);
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
}

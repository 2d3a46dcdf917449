// The parts of the API's answers that the console reads; docs/reference/openapi.json has all of them.
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string | null;
  errors?: { field: string; message: string }[];
}
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
export interface TensorSpec {
  name: string;
  dtype: string;
  shape: (number | string | null)[];
}
export interface StoredFile {
  sha256: string;
  bytes: number;
  media_type: string;
}
export interface Preprocessing {
  size: [number, number];
  resize: string;
  channel_order: string;
  interpolation: string;
  scale: number;
  mean: number[];
  std: number[];
  preset?: string | null;
  [field: string]: unknown;
}
export interface Metadata {
  task: string;
  preprocessing: Preprocessing | null;
  labels: string[] | null;
  output: string | null;
  detection: object | null;
  text: object | null;
  input_shapes: object | null;
  constant_inputs: object | null;
  serving: object | null;
  [field: string]: unknown;
}
export interface QuantizationSummary {
  method: string;
  weight_bits: number;
  activation_bits: number;
  mixed: boolean;
}
export interface ModelSummary {
  id: string;
  name: string;
  created_at: string;
  bytes: number;
  task: string;
  parameters: number;
  derived_from_id: string | null;
  quantization: QuantizationSummary | null;
}
export interface QuantizedTensor {
  tensor: string;
  role: string;
  layer: string | null;
  bits: number;
  channel_bits: number[] | null;
  signal_to_noise_db: number | null;
}
export interface QuantizationReport {
  settings: { method: string; weight_bits: number; activation_bits: number; [field: string]: unknown };
  tensors: QuantizedTensor[];
  float_layers: string[];
  warnings: string[];
  agreement: {
    source: string;
    samples: number;
    top1: number | null;
    boxes: number | null;
    cosine: number | null;
    relative_error: number;
    mean_absolute_error: number;
  };
  quality: { metric: string; before: number; after: number; samples: number }[];
  size: { before: number; packed: number; served: number; weights_before: number; weights_packed: number };
  latency: { batch: number; before_ms: number; after_ms: number; threads: number; runs: number }[];
  tuning: {
    steps: number;
    seconds: number;
    kept_step: number;
    path: string;
    ended_by: string;
    synthetic_dataset_id: string | null;
  } | null;
  trade_off: {
    met: boolean;
    measure: string;
    original: number;
    chosen: number;
    points: TradeOffPoint[];
  } | null;
}
export interface TradeOffPoint {
  weight_bytes: number;
  measured: number | null;
  predicted: number | null;
  tuned: boolean;
  bits: Record<string, number>;
}
export interface ModelDescription {
  name: string;
  metadata: Metadata;
  metadata_sources: Record<string, "said" | "file" | "inferred">;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  opset: number;
  parameters: number;
  warnings: string[];
}
export interface Model extends ModelDescription {
  id: string;
  created_at: string;
  bytes: number;
  sha256: string;
  derived_from_id: string | null;
  quantization: QuantizationReport | null;
  files: Record<string, StoredFile>;
}
export interface Layer {
  name: string;
  operator: string;
  parameters: number;
  macs: number | null;
  batch_norm: boolean;
  inputs: string[];
  outputs: string[];
}
export interface Graph {
  opset: number;
  operators: Record<string, number>;
  layers: Layer[];
  tensors: (Omit<TensorSpec, "shape"> & { shape: (number | string | null)[] | null; produced_by: string | null })[];
  parameters: number;
  macs: number | null;
  producer: string | null;
  unsupported_operators: string[];
}
export interface Training {
  phase: string;
  step: number;
  steps_per_second: number | null;
  losses: Record<string, number>;
  agreement: number | null;
  accuracy: number | null;
}
export interface Progress {
  step: string;
  fraction: number;
  eta_seconds: number | null;
  training: Training | null;
  updated_at: string;
}
export interface Job {
  id: string;
  kind: string;
  status: "queued" | "running" | "succeeded" | "failed" | "canceled";
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  attempts: number;
  progress: Progress | null;
  ending: boolean;
  result: { resource: string; id: string; by_products: { resource: string; id: string }[] } | null;
  error?: Problem | null;
  links: Record<string, string>;
  actions?: Record<string, string>;
  specification?: { kind: string; model_id?: string; request?: Record<string, unknown> };
}
export interface DatasetSummary {
  id: string;
  name: string;
  kind: string;
  created_at: string;
  bytes: number;
  samples: number;
  class_count: number;
  paired: boolean;
  derived_from_id: string | null;
}
export interface Detection {
  label: string;
  index: number;
  score: number;
  box: number[];
  keypoints?: number[][] | null;
  mask?: InstanceMask | null;
}
export interface InstanceMask {
  size: [number, number];
  counts: string;
}
export interface Prediction {
  milliseconds: number;
  detections?: Detection[][];
  predictions?: { label: string; index: number; score: number; top: { label: string; score: number }[] }[];
  texts?: { text: string; score: number }[];
  [field: string]: unknown;
}
export interface Readiness {
  ready: boolean;
  workers: { ready: boolean; detail: string };
  [component: string]: { ready: boolean; detail: string } | boolean;
}
export interface TranslatorSummary {
  id: string;
  name: string;
  created_at: string;
  method: "cyclegan" | "pix2pix" | null;
  model_ids: Record<string, string>;
}
export interface LossPoint {
  step: number;
  losses: Record<string, number>;
}
export interface DirectionEvaluation {
  images: number;
  held_out: boolean;
  metrics: Record<string, number>;
  untranslated: Record<string, number>;
  brightness: { source: number; translated: number; target: number };
  reconstruction_error: number | null;
  pixel_error: number | null;
  mean_image_error: number | null;
}
export interface Translator {
  id: string;
  name: string;
  created_at: string;
  status: "ready" | "queued" | "running" | "failed" | "canceled";
  settings: { method: "cyclegan" | "pix2pix"; dataset_id: string; direction: string; [field: string]: unknown } | null;
  job_id: string | null;
  bytes?: number;
  model_ids?: Record<string, string>;
  training?: {
    steps: number;
    epochs: number;
    seconds: number;
    steps_per_second: number;
    ended_by: string;
    precision: string;
  } | null;
  evaluation?: Record<string, DirectionEvaluation>;
  warnings?: string[];
  progress?: Progress | null;
  checkpoint?: boolean;
  error?: Problem | null;
}
export interface WorkerState {
  name: string;
  host: string;
  process: number;
  queues: string[];
  device: string | null;
  processor: string | null;
  versions: Record<string, string>;
  job_id: string | null;
  started_at: string;
  seen_at: string;
}
export interface SystemState {
  api: { host: string; processor: string; versions: Record<string, string> };
  workers: WorkerState[];
  queue: {
    waiting: number;
    running: number;
    oldest_waiting_seconds: number;
    waiting_by_queue: Record<string, number>;
    limit: number;
  };
  storage: {
    records: Record<string, number>;
    redis_bytes: number;
    free_bytes: number | null;
    total_bytes: number | null;
  };
}

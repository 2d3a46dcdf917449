// Evaluations, as the API answers them.
import type { StoredFile } from "../shared/types";

export interface MetricValue {
  value: number;
  expected: number | null;
  interval: [number, number] | null;
  deviation: number | null;
  seconds: number;
  meaning: string;
}
export interface SweepPoint {
  k: number;
  values: Record<string, number>;
  expected: Record<string, number>;
}
export interface ClassValues {
  label: string;
  reference_samples: number;
  generated_samples: number;
  values: Record<string, number>;
  expected: Record<string, number>;
}
export interface EvaluationRequest {
  reference_id: string;
  generated_id: string;
  features?: { model_id: string; tensor: string } | null;
  k?: number | number[];
  metrics?: string[] | null;
  bootstrap?: number;
  classifier_id?: string | null;
  per_class?: boolean;
  subsample?: number | null;
  seed?: number;
  name?: string | null;
}
export interface Evaluation {
  id: string;
  name: string;
  created_at: string;
  settings: EvaluationRequest;
  reference_samples: number;
  generated_samples: number;
  k: number;
  features: { source: string; dimensions: number; model_id: string | null; tensor: string | null };
  metrics: Record<string, MetricValue>;
  sweep: SweepPoint[];
  per_class: ClassValues[];
  shown: Record<string, number>;
  warnings: string[];
  seconds: number;
  files: Record<string, StoredFile>;
  provenance: object | null;
}
export interface EvaluationSummary {
  id: string;
  name: string;
  created_at: string;
  reference_id: string;
  generated_id: string;
  reference_samples: number;
  generated_samples: number;
  k: number;
  dimensions: number;
  tensor: string | null;
  values: Record<string, number>;
  differs: string[];
}
export interface EvaluationComparison {
  evaluation_id: string;
  other_id: string;
  comparable: boolean;
  differences: Record<string, unknown[]>;
  metrics: Record<string, { value: number; other: number; difference: number; better: boolean | null }>;
}
export interface EvaluationSample {
  set: "reference" | "generated";
  index: number;
  name: string | null;
  label: string | null;
  balls: number;
  distance: number;
  nearest_index: number;
  nearest_name: string | null;
}
export interface MapPoints {
  index: number[];
  place: [number, number][];
  balls?: number[];
  nearest_index?: number[];
  distance?: number[];
  label?: string[];
}
export interface Plots {
  map: { explained: number[]; reference: MapPoints; generated: MapPoints };
}

// Explanations, their units and analyses, as the API answers them.
import type { StoredFile } from "../shared/types";

export interface ExplanationSummary {
  id: string;
  name: string;
  created_at: string;
  model_id: string;
  dataset_id: string;
  layers: string[];
  units: number;
  mean_iou: number | null;
}
export interface Spread {
  minimum: number;
  lower_quartile: number;
  median: number;
  upper_quartile: number;
  maximum: number;
  mean: number;
}
export interface LayerSummary {
  layer: string;
  shape: number[];
  units: number;
  explained: number;
  iou: Spread | null;
  concept_iou: Spread | null;
  gain: number | null;
  at_ceiling: number;
  mean_ceiling: number | null;
  proven: number;
  most_used: { concept: string; category: string; units: number }[];
  lengths: Record<string, number>;
}
export interface ExplanationSettings {
  dataset_id: string;
  layer: string | string[];
  units: number[] | null;
  search: string;
  max_length: number;
  beam_size: number;
  quantile: number | null;
  threshold: number | null;
  complexity_penalty: number;
  operators: string[];
  derived_concepts: string[];
  resolution: [number, number] | null;
  min_firings: number;
  seed: number;
  name: string | null;
  [field: string]: unknown;
}
export interface Explanation {
  id: string;
  name: string;
  created_at: string;
  model_id: string;
  settings: ExplanationSettings;
  about: "images" | "signals" | "text";
  samples: number;
  pixels: number;
  concepts: Record<string, string[]>;
  concept_count: number;
  layers: LayerSummary[];
  warnings: string[];
  seconds: number;
  files: Record<string, StoredFile>;
  links: Record<string, string>;
}
export interface FormulaNode {
  operator: "or" | "and" | "and_not" | "neighbors" | null;
  concept: string | null;
  parts: FormulaNode[];
}
export interface UnitSummary {
  layer: string;
  unit: number;
  formula: string | null;
  length: number;
  score: number;
  concept: string | null;
  concept_score: number;
  ceiling: number;
  optimal: boolean | null;
  firings: number;
  reason: string | null;
}
export interface FoundUnit extends UnitSummary {
  explanation_id: string;
  dataset_id: string;
}
export interface UnitExample {
  index: number;
  name: string | null;
  activation: number;
  texts: string[] | null;
  label: string | null;
  predicted: string | null;
}
export interface Unit extends UnitSummary {
  tree: FormulaNode | null;
  threshold: number;
  scores: number[];
  formulas: string[];
  bound: number | null;
  classes: { label: string; weight: number | null; pmi: number | null }[];
  examples: UnitExample[];
}
export interface AnalysisSummary {
  id: string;
  explanation_id: string;
  created_at: string;
  kind: AnalysisKind;
  warnings: string[];
}
export type AnalysisKind = "abstractions" | "interpretability" | "copy_paste" | "drift";
export interface AbstractionsResult {
  kind: "abstractions";
  by: "taxonomy" | "embedding" | "vectors" | "cooccurrence";
  shares: Record<string, number>;
  units: { layer: string; unit: number; formula: string; score: number; kind: string }[];
  unknown: string[];
}
export interface InterpretabilityResult {
  kind: "interpretability";
  of: "accuracy" | "recall";
  overall: number;
  correlations: { length: number; units: number; r: number | null; p: number | null }[];
  units: { layer: string; unit: number; samples: number; accuracy: number; score: number }[];
}
export interface SuccessRate {
  tries: number;
  successes: number;
  rate: number;
  interval: [number, number];
  probability_gain: number;
}
export interface Edit {
  index: number;
  change: string;
  formula: string;
  unit: number;
  layer?: string | null;
  before: string[];
  after: string[];
  predicted_before: string;
  predicted_after: string;
  probability_before: number;
  probability_after: number;
  donor?: string | null;
  images?: string[];
}
export interface CopyPasteResult {
  kind: "copy_paste";
  label: string;
  proposed: SuccessRate;
  control: SuccessRate;
  changes: string[];
  examples: Edit[];
}
export interface UnitDrift {
  layer: string;
  unit: number;
  iou: number;
  formula_before: string | null;
  formula_after: string | null;
  same_formula: boolean;
  score_before: number;
  score_after: number;
}
export interface ModelDrift {
  model_id: string;
  bits: string | null;
  mean_iou: number;
  explained: number;
  same_formula: number;
  score_change: number;
  units: UnitDrift[];
}
export interface DriftResult {
  kind: "drift";
  models: ModelDrift[];
}
export interface Analysis {
  id: string;
  explanation_id: string;
  created_at: string;
  settings: { kind: AnalysisKind; [field: string]: unknown };
  result: AbstractionsResult | InterpretabilityResult | CopyPasteResult | DriftResult;
  warnings: string[];
  seconds: number;
  files: Record<string, StoredFile>;
}

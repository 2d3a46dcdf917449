// Datasets, as the API answers them.
import type { StoredFile } from "../shared/types";

export interface Dataset {
  id: string;
  name: string;
  kind: string;
  created_at: string;
  sha256: string;
  bytes: number;
  samples: number;
  classes: string[];
  class_counts: Record<string, number>;
  concepts: Record<string, string[]>;
  paired: boolean | null;
  warnings: string[];
  derived_from_id: string | null;
  files: Record<string, StoredFile>;
}

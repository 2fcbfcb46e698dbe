/**
 * The documents that the pages read, as the API serves them. No page loads this file: editors and type checkers do.
 *
 * Times in `t` arrays and in gaps are epoch seconds; every other time is ISO 8601 with Z. Shares are 0..1, durations
 * seconds. `null` in a series is a gap. Sentences are plain text; a name in backticks becomes a link where it is known.
 */

type Status = "ok" | "watch" | "act" | "no_data" | "learning";
type Value = number | null;

/** What every document holds. */
interface Page {
  /** The processes' clock when the document was made: simulated in the demo. The header X-Barograph-Clock has the latest. */
  now: string;
  /** When the evaluator last judged. */
  updated?: string;
  /** The window that is shown. */
  range: { from: string; to: string };
  /** How soon to ask again; 5 if absent. */
  poll_seconds?: number;
  /** Event seconds per second of wall time; 1 if absent. */
  speed?: number;
  /** How many incidents that page are firing, all models together. */
  incidents?: number | Incident[];
  /** Said above the content. */
  state?: State | null;
}

/** A condition that stands in for content, with what to do about it. */
interface State {
  kind: "empty" | "learning" | "no_data" | "error" | "too_few" | "no_labels" | "healthy";
  title: string;
  text: string;
  /** 0..1 */
  progress?: Value;
  /** Lines to copy. */
  code?: string | null;
}

interface TimelineEvent {
  t: string;
  /** Its end, or null while it lasts. */
  until?: string | null;
  kind: "incident" | "deployment" | "change" | "label";
  model: string | null;
  /** Empty: a minor tick. */
  label: string;
  /** `act` marks the suspect. */
  status?: Status | null;
}

interface Gap {
  from: number;
  to: number;
  /** Its name, "no data" if absent. */
  text?: string | null;
}

/** GET /api/fleet?range=&to= */
interface Fleet extends Page {
  status: Status;
  headline: string;
  lede: string;
  /** Most urgent first, then by traffic. */
  models: FleetModel[];
  events: TimelineEvent[];
  targets?: { url: string; up: boolean | null; error: string | null }[];
}

interface FleetModel {
  name: string;
  version: string;
  status: Status;
  reason: string;
  /** `rate` in requests/s, `p95` in seconds, `errors` a share; `over` names the fields past a limit. */
  service: { rate: Value; p95: Value; errors: Value; status: Status; over?: ("rate" | "p95" | "errors")[] };
  /** Without `over` the status colours the text. */
  output: { text: string; empty: Value; status: Status; over?: ("value" | "empty")[] };
  outcomes: { text: string; sub: string; status: Status };
  causes: { drifted: Value; columns: number; status: Status };
  spark: Spark;
}

interface Spark {
  t: number[];
  y: Value[];
  usual: [number, number] | null;
  /** One state for each time. */
  ribbon: Status[];
}

/** GET /api/models/{name}?range=&to=&version= */
interface Model extends Page {
  name: string;
  version: string;
  /** Newest first. */
  versions: string[];
  status: Status;
  headline: string;
  lede: string;
  since: string | null;
  owner: string | null;
  runbook: string | null;
  reference: { text: string } | null;
  events: TimelineEvent[];
  gaps: Gap[];
  /** The id of the one that is open. */
  incident: string | null;
  service: Section;
  output: Section & { checks: Check[] };
  outcomes: Section;
  causes: { status: Status; summary: string; columns: ColumnRow[]; state?: State | null };
}

interface Section {
  status: Status;
  summary: string;
  panels: Panel[];
  /** Said above the panels. */
  state?: State | null;
  /** False where nobody judges it: its summary stands without a status. */
  judged?: boolean;
}

interface Check {
  name: string;
  status: Status;
  text: string;
  note: string | null;
}

interface Panel {
  id: string;
  name: string;
  /** "requests/s", "seconds", "share", "count", "", or a unit to show as it is. */
  unit: string;
  /** Now. */
  value: Value;
  /** Figures of the value at most, 2 if absent. */
  digits?: number;
  /** The usual range and the limits in words, with their units. */
  text: string;
  status: Status;
  t: number[];
  series: Series[];
  /** Widest first. */
  bands: Band[];
  usual: { lo: Value[]; hi: Value[] } | null;
  limits: Limits | Limits[] | null;
  /** Rows behind each point. */
  n: Value[] | null;
  scale: "linear" | "log" | "symlog" | "auto";
  /** The axis starts at zero. */
  zero: boolean;
  /** The axis reaches at least this far. */
  top?: Value;
  note: string | null;
  /** What a sample without a value means, "too few rows" if absent. */
  few?: string;
  /** A constant band behind the data. */
  reference?: { lo: number; mid: number; hi: number } | null;
  /** When its alert began, epoch seconds: without limits, its line is past them from here on. */
  since?: Value;
  /** Said instead of the value. */
  state?: State | null;
}

interface Series {
  name: string;
  y: Value[];
  role: "main" | "live" | "reference" | "estimate";
  /** For each sample whether it is not final yet: an open circle. */
  open?: boolean[];
}

interface Band {
  name: string;
  lo: Value[];
  hi: Value[];
  /** "live" if absent. */
  role?: "live" | "estimate";
}

interface Limits {
  watch: Value;
  act: Value;
  worse: "high" | "low";
}

interface ColumnRow {
  name: string;
  role: string;
  status: Status;
  what: string;
  since: string | null;
  psi: Value;
  /** The worst signal over its threshold. */
  ratio: Value;
  /** Share of the model's decisions, 0..1. */
  weight: Value;
  mini: { ref: number[]; live: number[] } | null;
}

/** GET /api/models/{name}/columns/{column}?range=&to=&version= */
interface Feature extends Page {
  name: string;
  model: string;
  role: string;
  kind: string;
  unit: string | null;
  description?: string | null;
  status: Status;
  headline: string;
  lede: string;
  events: TimelineEvent[];
  gaps: Gap[];
  n: { reference: number; live: number };
  /** Every column of the model, most changed first. */
  columns: ColumnRow[];
  distribution: Distribution | null;
  evidence: { text: string; value: string }[];
  comparison: ComparisonRow[];
  values: Panel | null;
  signals: Signal[];
  measures: { name: string; value: Value; text: string }[];
  /** What usually fixes this. */
  advice?: string | null;
  incident?: string | null;
}

interface ComparisonRow {
  name: string;
  reference: Value;
  live: Value;
  ratio: Value;
  unit: "share" | "value";
  status: Status;
}

interface Distribution {
  kind: "numeric" | "categorical";
  scale: "linear" | "log" | "symlog" | "auto";
  /** k + 1, finite; bins may be of any width. */
  edges: number[] | null;
  /** k, of categories. */
  labels: string[] | null;
  /** k shares. */
  reference: number[];
  live: number[];
  /** Live carried back onto the reference: "÷ 1,000". */
  transform?: { text: string; shares: number[] } | null;
}

interface Signal {
  signal: "D" | "L" | "A" | "U" | "O";
  name: string;
  ratio: Value;
  status: Status;
  text: string;
  /** Two series over time: the signal, and its limit. */
  panel: Panel | null;
}

/** GET /api/incidents */
interface Incidents extends Page {
  incidents: Incident[];
}

interface Incident {
  id: string;
  model: string;
  version: string;
  status: "firing" | "resolved";
  severity: "page" | "ticket";
  headline: string;
  since: string;
  until: string | null;
  alerts: Alert[];
}

interface Alert {
  name: string;
  column: string | null;
  value: Value;
  threshold: Value;
  since: string;
  text: string;
}

/** GET /api/models/{name}/readiness?version= */
interface Readiness extends Omit<Page, "range"> {
  name: string;
  headline: string;
  lede: string;
  /** Of the ML Test Score. */
  source: string;
  answers: {
    name: string;
    question: string;
    summary: string;
    groups: { name: string; rows: Check[] }[];
    table: { head: string[]; rows: string[][] } | null;
    note: string;
  }[];
}

/** GET /api/names: what the find box searches. */
interface Names {
  models: { name: string; columns: string[] }[];
}

/** GET /api/glossary: what the words mean. */
interface Glossary {
  terms: { term: string; text: string }[];
}

// What the modules pass to each other ----------------------------------------------------------------------------

interface Route {
  page: "fleet" | "model" | "feature" | "incidents" | "readiness" | "missing";
  path: string;
  model?: string;
  column?: string;
  /**
   * `range`; `to`, the end of the window (absent: now); `version`; `view=table`; `at`, the pinned moment in epoch
   * seconds; `all=1`, rows without change too; `id`, an incident; `model`, incidents of one model.
   */
  query: URLSearchParams;
}

/** Why a document could not be had. */
interface Failure {
  /** No answer at all, or an answer that is an error. */
  kind: "offline" | "refused";
  /** Of HTTP. */
  status?: number;
  what: string;
  remedy: string;
}

interface View {
  /** The last good document. */
  doc: any;
  /** When it was last confirmed, wall clock in epoch milliseconds. */
  at: Value;
  /** The server's clock then: the document itself is older, if nothing in it has changed. */
  clock: string | null;
  failure: Failure | null;
  /** When the next attempt follows a failure, epoch milliseconds. */
  retryAt: Value;
}

/** What every chart of a page shares; times in epoch seconds. */
interface ChartPage {
  from: number;
  to: number;
  now: number;
  events: TimelineEvent[];
  gaps: Gap[];
  /** Charts are shown as tables. */
  table: boolean;
}

interface Scale {
  px(value: number): number;
  value(px: number): number;
  ticks(count: number): number[];
}

/** The unit in which values are shown, and the factor to it from the API's. */
interface Display {
  factor: number;
  unit: string;
}

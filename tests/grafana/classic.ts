/** Grafana Classic JSON as its own types have it, made as strict as JSON allows. */
import type * as schema from "@grafana/schema";
import type * as barchart from "@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** JSON spells the members of an enum out: `"value"` for `BigValueColorMode.Value`, `1` for `DashboardCursorSync.Crosshair`. */
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer N extends number}` ? N : never
      : T extends (infer U)[]
        ? Plain<U>[]
        : T extends object
          ? { [K in keyof T]: Plain<T[K]> }
          : T;

/** A query, as Grafana's Prometheus data source has it. */
interface Query {
  refId: string;
  datasource: { type: "prometheus"; uid: "${datasource}" };
  editorMode: "code";
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format: "time_series" | "table" | "heatmap";
}

type Field<Custom> = Omit<schema.FieldConfig, "custom" | "links"> & {
  custom: Partial<Custom>;
  links?: { title: string; url: string; targetBlank?: boolean }[];
};
type PanelOf<Type extends string, Options, Custom> = Plain<
  Omit<schema.Panel, "type" | "options" | "fieldConfig" | "targets" | "transformations"> & {
    type: Type;
    options: Options;
    fieldConfig: { defaults: Field<Custom>; overrides: NonNullable<schema.FieldConfigSource>["overrides"] };
    targets: Query[];
    transformations: { id: "merge" | "organize" | "sortBy" | "groupingToMatrix"; options: Record<string, unknown> }[];
  }
>;

type Panel =
  | PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>
  | PanelOf<"stat", stat.Options, {}>
  | PanelOf<"bargauge", bargauge.Options, {}>
  | PanelOf<"barchart", barchart.Options, barchart.FieldConfig>
  | PanelOf<"heatmap", heatmap.Options, heatmap.FieldConfig>
  | PanelOf<"table", table.Options, table.FieldConfig>;

interface Variable extends Omit<schema.VariableModel, "current"> {
  current: Record<string, never> | Omit<schema.VariableOption, "selected">;
}
interface Annotation extends Omit<schema.AnnotationQuery, "target"> {
  target?: schema.DataQuery & { expr: string; editorMode: "code"; interval: string };
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
}

export type ClassicDashboard = Plain<
  Omit<schema.Dashboard, "panels" | "templating" | "annotations" | "schemaVersion" | "uid" | "id"> & {
    schemaVersion: 41;
    uid: string;
    id: null;
    templating: { list: Variable[] };
    annotations: { list: Annotation[] };
  }
> & { panels: (Panel | Plain<schema.RowPanel>)[] };

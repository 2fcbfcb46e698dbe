/**
 * The documents that the pages read, as the API serves them. Never loaded by a page: editors and type checkers read it.
 *
 * Times in `t` arrays and in gaps are epoch seconds; every other time is ISO 8601 with Z. Shares are 0..1, durations
 * seconds. `null` in a series is a gap. Sentences are plain text; a name in backticks becomes a link where it is known.
 * A key marked optional may be missing or null.
 *
 * @typedef {"ok" | "watch" | "act" | "no_data" | "learning"} Status
 *
 * @typedef {object} Page What every document holds.
 * @property {string} now the processes' clock: simulated in the demo
 * @property {{from: string, to: string}} range the window that is shown
 * @property {number} [poll_seconds] how soon to ask again; 5 if absent
 * @property {number} [speed] event seconds per second of wall time, if not 1
 * @property {number} [incidents] how many are firing, all models together
 * @property {State} [state] said instead of, or above, the content
 *
 * @typedef {object} State A condition that stands in for content: see states.js.
 * @property {"empty" | "learning" | "no_data" | "error" | "too_few" | "no_labels" | "healthy"} kind
 * @property {string} title
 * @property {string} text
 * @property {number} [progress] 0..1
 * @property {string} [code] lines to copy
 *
 * @typedef {object} Event
 * @property {string} t
 * @property {string | null} [until] end, or null while it lasts
 * @property {"incident" | "deployment" | "change" | "label"} kind
 * @property {string | null} model
 * @property {string} label empty: a minor tick
 * @property {Status | null} [status] act marks the suspect
 *
 * @typedef {object} Gap
 * @property {number} from
 * @property {number} to
 * @property {string} [text] its name, "no data" if absent
 *
 * @typedef {object} Fleet
 * @property {Status} status
 * @property {string} headline
 * @property {string} lede
 * @property {string} updated when the evaluator last judged
 * @property {FleetModel[]} models most urgent first, then by traffic
 * @property {Event[]} events
 *
 * @typedef {object} FleetModel
 * @property {string} name
 * @property {string} version
 * @property {Status} status
 * @property {string} reason
 * @property {string | null} since
 * @property {string | null} owner
 * @property {string | null} team
 * @property {number} predictions
 * @property {{rate: number | null, p95: number | null, errors: number | null, status: Status, over?: string[]}} service
 *   rate in requests/s, p95 in seconds, errors a share; `over` names the fields past a limit
 * @property {{text: string, value: number | null, empty: number | null, status: Status, over?: string[]}} output
 *   `over`: "value", "empty"; without it the status colours the value
 * @property {{text: string, sub: string, status: Status}} outcomes
 * @property {{drifted: number | null, columns: number, status: Status}} causes
 * @property {Spark} spark
 *
 * @typedef {object} Spark
 * @property {number[]} t
 * @property {(number | null)[]} y
 * @property {[number, number] | null} usual
 * @property {Status[]} ribbon one for each t
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} version
 * @property {string[]} versions newest first
 * @property {Status} status
 * @property {string} headline
 * @property {string} lede
 * @property {string | null} since
 * @property {string | null} owner
 * @property {string | null} runbook
 * @property {{id: string, rows: number, from: string | null, to: string | null, text: string} | null} reference
 * @property {Event[]} events
 * @property {Gap[]} gaps
 * @property {string | null} incident id of the one that is open
 * @property {Section} service
 * @property {Section & {checks: Check[]}} output
 * @property {Section} outcomes
 * @property {{status: Status, summary: string, columns: ColumnRow[], state?: State}} causes
 *
 * @typedef {object} Section
 * @property {Status} status
 * @property {string} summary
 * @property {Panel[]} panels
 * @property {State} [state] said instead of the panels
 *
 * @typedef {object} Check
 * @property {string} name
 * @property {Status} status
 * @property {string} text
 * @property {string | null} note
 *
 * @typedef {object} Panel
 * @property {string} id
 * @property {string} name
 * @property {string} unit "requests/s", "seconds", "share", "count", "" or a unit to show as it is
 * @property {number | null} value now
 * @property {string} text the usual range and the limits in words, units included
 * @property {Status} status
 * @property {number[]} t
 * @property {Series[]} series
 * @property {Band[]} bands widest first
 * @property {{lo: (number | null)[], hi: (number | null)[]} | null} usual
 * @property {Limits | Limits[] | null} limits
 * @property {number[] | null} n rows behind each point
 * @property {"linear" | "log" | "symlog" | "auto"} scale
 * @property {boolean} zero the axis starts at zero
 * @property {string | null} note
 * @property {{lo: number, mid: number, hi: number} | null} [reference] a constant band behind the data
 * @property {number | null} [top] the axis reaches at least this far
 * @property {State} [state] said instead of the chart
 *
 * @typedef {{name: string, y: (number | null)[], role: "main" | "live" | "reference" | "estimate"}} Series
 * @typedef {{name: string, lo: (number | null)[], hi: (number | null)[]}} Band
 * @typedef {{watch: number | null, act: number | null, worse: "high" | "low"}} Limits
 *
 * @typedef {object} ColumnRow
 * @property {string} name
 * @property {string} role
 * @property {string} kind
 * @property {Status} status
 * @property {string} what
 * @property {string | null} since
 * @property {number | null} psi
 * @property {number | null} ratio worst signal over its threshold
 * @property {number | null} weight share of the model's decisions, 0..1
 * @property {{ref: number[], live: number[]} | null} mini
 *
 * @typedef {object} Feature
 * @property {string} name
 * @property {string} model
 * @property {string} role
 * @property {string} kind
 * @property {string | null} unit
 * @property {string | null} [description]
 * @property {Status} status
 * @property {string} headline
 * @property {string} lede
 * @property {string | null} since
 * @property {Event[]} events
 * @property {Gap[]} gaps
 * @property {{reference: number, live: number}} n
 * @property {ColumnRow[]} columns
 * @property {Distribution | null} distribution
 * @property {{text: string, value: string}[]} evidence
 * @property {{name: string, reference: number | null, live: number | null, ratio: number | null,
 *   unit: string, status: Status}[]} comparison
 * @property {Panel | null} values
 * @property {Signal[]} signals
 * @property {{name: string, value: number | null, text: string}[]} measures
 * @property {string | null} [advice] what usually fixes this
 * @property {string | null} [incident]
 *
 * @typedef {object} Distribution
 * @property {"numeric" | "categorical"} kind
 * @property {"linear" | "log" | "symlog" | "auto"} scale
 * @property {number[] | null} edges k + 1, finite; bins may be of any width
 * @property {string[] | null} labels k, for categories
 * @property {number[]} reference k shares
 * @property {number[]} live k shares
 * @property {{text: string, shares: number[]} | null} [transform] live carried back, "÷ 1,000"
 * @property {string} note
 *
 * @typedef {object} Signal
 * @property {"D" | "L" | "A" | "U" | "O"} signal
 * @property {string} name
 * @property {number | null} value
 * @property {number | null} threshold
 * @property {number | null} ratio
 * @property {Status} status
 * @property {string} text
 * @property {Panel | null} panel
 *
 * @typedef {object} Incidents
 * @property {Incident[]} incidents
 *
 * @typedef {object} Incident
 * @property {string} id
 * @property {string} model
 * @property {string} version
 * @property {"firing" | "resolved"} status
 * @property {"page" | "ticket"} severity
 * @property {string} headline
 * @property {string} since
 * @property {string | null} until
 * @property {Alert[]} alerts
 *
 * @typedef {object} Alert
 * @property {string} name
 * @property {string | null} column
 * @property {string | null} signal
 * @property {"page" | "ticket"} severity
 * @property {string} state
 * @property {number | null} value
 * @property {number | null} threshold
 * @property {string} since
 * @property {string | null} until
 * @property {string} text
 */

export {};

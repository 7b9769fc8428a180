package mcp

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/reports"
	"github.com/millrace/millrace/services/query/sqlgate"
)

// tool is a question that can be called.
type tool struct {
	name, title, about string
	scope              access.Scope // that a key needs, as the path asks for it
	schema             schema
	// request is what is asked of the handler.
	request func(args arguments) (request, error)
	// smaller is what to do about an answer that is too large.
	smaller string
}

// request is one to the query port.
type request struct {
	method, path string
	values       url.Values
	body         string
	rows         int // most of them; 0: the answer is a JSON document
}

func (t tool) describe() *sdk.Tool {
	no := false
	return &sdk.Tool{
		Name: t.name, Title: t.title, Description: t.about, InputSchema: t.schema,
		Annotations: &sdk.ToolAnnotations{Title: t.title, ReadOnlyHint: true, DestructiveHint: &no, IdempotentHint: true, OpenWorldHint: &no},
	}
}

// Rows of an answer in rows.
const (
	usualRows = 100
	maxRows   = 1000
)

func reportTools(list []reports.Description) (tools []tool) {
	for _, d := range list {
		tools = append(tools, tool{
			name: d.Name, title: "Report: " + d.Name, scope: access.Reports, schema: schemaOf(d.Params...),
			about: d.About + ". The answer has the question as it was understood, the result, and how fresh it is.",
			request: func(args arguments) (request, error) {
				values, err := args.values()
				return request{method: http.MethodGet, path: reports.Root + "/" + d.Name, values: values}, err
			},
			smaller: "ask for a shorter period, a longer interval or a smaller limit",
		})
	}
	return tools
}

// queryPrefix keeps the names of named queries apart from all others.
const queryPrefix = "query_"

func queryTools(list []sqlgate.Named) (tools []tool) {
	for _, q := range list {
		tools = append(tools, tool{
			name: queryPrefix + q.Name, title: "Query: " + q.Name, scope: access.Reports,
			about:  strings.TrimSpace(q.Summary + "\n" + q.Description),
			schema: schemaOfNamed(q.Params),
			request: func(args arguments) (request, error) {
				values, err := args.values()
				return request{method: http.MethodGet, path: "/v1/queries/" + q.Name, values: values, rows: maxRows}, err
			},
			smaller: "choose parameters that select less",
		})
	}
	return tools
}

// tables are those that there are for questions.
var tables = []string{"events", "dead_letters"}

var (
	afterParam   = reports.Param{Name: "after", Type: "text", About: "receipt of events that the answer must include"}
	timeoutParam = reports.Param{Name: "timeout", Type: "duration", Default: "5s", About: "how long to wait for after"}
)

func otherTools() []tool {
	return []tool{
		{
			name: "user", title: "One user", scope: access.Ask,
			about: "What is known of one user, with the events of a moment ago: traits, first and last seen, counts of events, " +
				"the session that is going on, the last events. What is lacking, because a part of the installation is away, is said in lacks.",
			schema: schemaOf(
				reports.Param{Name: "id", Type: "text", Required: true, About: "the user's id, or the anonymous id with anonymous"},
				reports.Param{Name: "source", Type: "text", About: "the user's source; needed unless the key is for one source only"},
				reports.Param{Name: "anonymous", Type: "boolean", About: "the id is that of a visitor who is not known"},
				reports.Param{Name: "recent", Type: "integer", Default: "10", About: "how many of the last events, up to 50"},
				afterParam, timeoutParam,
			),
			request: func(args arguments) (request, error) {
				values, err := args.values()
				if err != nil {
					return request{}, err
				}
				id := values.Get("id")
				values.Del("id")
				if id == "." || id == ".." {
					return request{}, badArguments("id %q: it cannot be asked for by its path; the report timeline takes it", id)
				}
				return request{method: http.MethodGet, path: "/v1/users/" + url.PathEscape(id), values: values}, nil
			},
			smaller: "ask for fewer recent events",
		},
		{
			name: "sql", title: "SQL", scope: access.SQL,
			about: "Runs one SELECT in ClickHouse's dialect, as a user that can only read. Call columns first to see what there is. " +
				"The table events is read fast by source and event_date (Date32, of timestamp), so name event_date. " +
				"A page view often has no event, its type is page. properties, traits, context and extra are maps of text: " +
				"properties['plan']; numbers are in properties_num and the like. Leave out FORMAT. The answer is columns and rows.",
			schema: schemaOf(
				reports.Param{Name: "sql", Type: "text", Required: true, About: "one statement"},
				reports.Param{Name: "max_rows", Type: "integer", Default: strconv.Itoa(usualRows), About: "most rows of the answer, up to " + strconv.Itoa(maxRows)},
				afterParam, timeoutParam,
			).with("parameters", schema{
				"type": "object", "additionalProperties": schema{"type": []string{"string", "number", "boolean"}},
				"description": "values of {name:Type} in the statement, by name",
			}),
			request: sqlRequest,
			smaller: "select fewer or shorter columns",
		},
		{
			name: "columns", title: "Columns", scope: access.SQL,
			about:  "The columns of a table that sql can read, with their types. dead_letters holds what was refused, and why.",
			schema: schemaOf(reports.Param{Name: "table", Type: "text", Default: tables[0], Enum: tables, About: "which one"}),
			request: func(args arguments) (request, error) {
				values, err := args.values()
				if err != nil {
					return request{}, err
				}
				table := cmp.Or(values.Get("table"), tables[0])
				if !slices.Contains(tables, table) { // it becomes SQL
					return request{}, badArguments("table %.40q: there are %s", table, strings.Join(tables, " and "))
				}
				return request{method: http.MethodPost, path: "/v1/sql", body: "DESCRIBE TABLE " + table, rows: maxRows}, nil
			},
			smaller: "ask DESCRIBE with sql",
		},
		{
			name: "status", title: "Status", scope: access.Admin, schema: schemaOf(),
			about: "How far every shard of the installation is: events accepted, enriched, stored, refused; lag, and what stands still and why.",
			request: func(arguments) (request, error) {
				return request{method: http.MethodGet, path: "/v1/status"}, nil
			},
			smaller: "ask GET /v1/status over HTTP",
		},
	}
}

func sqlRequest(args arguments) (request, error) {
	r := request{method: http.MethodPost, path: "/v1/sql"}
	var err error
	if r.rows, err = args.integer("max_rows", usualRows, 1, maxRows); err != nil {
		return r, err
	}
	inner, err := args.object("parameters")
	if err != nil {
		return r, err
	}
	params, err := inner.values()
	if err != nil {
		return r, err
	}
	if r.values, err = args.without("parameters", "max_rows").values(); err != nil {
		return r, err
	}
	r.body = r.values.Get("sql")
	r.values.Del("sql")
	for name, values := range params {
		r.values["param_"+name] = values
	}
	return r, nil
}

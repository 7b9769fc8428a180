package sqlgate

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// Queries is the answer of GET /v1/queries.
type Queries struct {
	Queries []Named `json:"queries"`
}

// Named are the named queries as they are now.
func (g *Gate) Named() []Named { return g.named.List() }

// ServeQueries is GET /v1/queries.
func (g *Gate) ServeQueries(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, Queries{Queries: g.named.List()})
}

// ServeQuery is GET /v1/queries/{name}. Its result is JSON unless format or Accept say otherwise.
func (g *Gate) ServeQuery(w http.ResponseWriter, r *http.Request) error {
	q, err := readRequest(r, "JSON")
	if err != nil {
		return err
	}
	given := map[string]string{}
	for name, values := range q.rest {
		given[name] = values[0]
	}
	question, err := g.Question(r.PathValue("name"), given)
	if err != nil {
		return err
	}
	question.ID = q.id
	maps.Copy(question.Values, q.values)
	return g.answer(w, r, q, question)
}

// Question is a named query with its parameters, for [Gate.Ask]; its default_format is JSON. The error is a problem.
func (g *Gate) Question(name string, given map[string]string) (reader.Question, error) {
	named, ok := g.named.Find(name)
	if !ok {
		return reader.Question{}, problem.New(http.StatusNotFound, problem.NotFound, "there is no named query "+name+"; GET /v1/queries lists them")
	}
	question := reader.Question{SQL: named.SQL, Values: map[string][]string{"default_format": {"JSON"}}}
	for name := range given {
		if !slices.ContainsFunc(named.Params, func(p Param) bool { return p.Name == name }) {
			return reader.Question{}, badRequest("parameter %q is unknown: %s takes %s", name, named.Name, named.takes())
		}
	}
	for _, p := range named.Params {
		value, ok := given[p.Name]
		switch {
		case ok:
		case p.Default != nil:
			value = *p.Default
		default:
			return reader.Question{}, badRequest("parameter %s is missing: %s takes %s", p.Name, named.Name, named.takes())
		}
		question.Values.Set("param_"+p.Name, reader.Param(value))
	}
	// The SQL was looked at when it was read; the value of an {x:Identifier} is a name too.
	if err := Check(question.SQL, question.Values); err != nil {
		return reader.Question{}, err
	}
	return question, nil
}

// takes lists the parameters for people.
func (q Named) takes() string {
	if len(q.Params) == 0 {
		return "none but " + strings.Join(reserved, ", ")
	}
	var names []string
	for _, p := range q.Params {
		names = append(names, p.Name+" ("+p.Type+")")
	}
	return strings.Join(names, ", ")
}

func writeJSON(w http.ResponseWriter, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return problem.New(http.StatusInternalServerError, problem.Internal, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(text, '\n')) // the reader is gone; there is nobody to tell
	return nil
}

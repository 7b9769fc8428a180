package reports

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/services/query/problem"
)

// Root is where reports are: alone it lists them, Root/<name> is one, its parameters in the URL.
const Root = "/v1/reports"

// List is the answer at [Root].
type List struct {
	Reports []Description `json:"reports"`
}

// Serve answers a request to [Root] and below. An error has written nothing yet.
func (r *Reports) Serve(w http.ResponseWriter, req *http.Request, who Asker) error {
	name := req.PathValue("name")
	if name == "" {
		return writeJSON(w, List{r.Describe()})
	}
	values, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return problem.New(http.StatusBadRequest, problem.BadRequest, "the parameters of the URL cannot be read: "+err.Error())
	}
	a, err := r.Answer(req.Context(), who, name, values)
	if err != nil {
		return err
	}
	return writeJSON(w, a)
}

func writeJSON(w http.ResponseWriter, v any) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the asker is gone; there is nobody to tell
	return nil
}

package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/services/query/problem"
)

// arguments are what a tool is called with. One that is null is not given: some clients send every parameter there is.
type arguments map[string]json.RawMessage

func badArguments(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, fmt.Sprintf(format, args...))
}

// readArguments refuses those that the schema does not have and the absence of those that it requires. Whether a value is
// one that it may be is for the handler to say.
func readArguments(raw json.RawMessage, s schema) (arguments, error) {
	args := arguments{}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, badArguments("the arguments are no JSON object: %v", err)
		}
	}
	for name, value := range args {
		if isNull(value) {
			delete(args, name)
			continue
		}
		if _, ok := s.properties()[name]; !ok {
			return nil, badArguments("the argument %q is unknown: %s", name, s.takes())
		}
	}
	required, _ := s["required"].([]string)
	for _, name := range required {
		if _, ok := args[name]; !ok {
			return nil, badArguments("the argument %s is missing: %s", name, s.takes())
		}
	}
	return args, nil
}

// takes lists the arguments for a reader.
func (s schema) takes() string {
	names := s.names()
	if len(names) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(names, ", ")
}

func isNull(v json.RawMessage) bool { return string(bytes.TrimSpace(v)) == "null" }

// values are the arguments as parameters of a URL, a list as several of one name.
func (a arguments) values() (url.Values, error) {
	values := url.Values{}
	for name, raw := range a {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		for _, one := range list {
			text, err := scalar(one)
			if err != nil {
				return nil, badArguments("the argument %s: %v", name, err)
			}
			values.Add(name, text)
		}
	}
	return values, nil
}

// scalar is a value as a URL has it: a number keeps its digits.
func scalar(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) > 0 && raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", fmt.Errorf("want text: %w", err)
		}
		return text, nil
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || isNull(raw):
		return "", fmt.Errorf("want text, a number, true or false, not %.40s", raw)
	}
	return string(raw), nil
}

// integer is an argument that the handler does not get.
func (a arguments) integer(name string, usual, least, most int) (int, error) {
	raw, ok := a[name]
	if !ok {
		return usual, nil
	}
	text, err := scalar(raw)
	n, wrong := strconv.Atoi(text)
	if err != nil || wrong != nil || n < least || n > most {
		return 0, badArguments("the argument %s is %.40s: want a number from %d to %d", name, raw, least, most)
	}
	return n, nil
}

// object is an argument that has members itself.
func (a arguments) object(name string) (inner arguments, err error) {
	raw, ok := a[name]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &inner); err != nil {
		return nil, badArguments("the argument %s is no JSON object: %v", name, err)
	}
	return inner, nil
}

func (a arguments) without(names ...string) arguments {
	rest := arguments{}
	for name, raw := range a {
		if !slices.Contains(names, name) {
			rest[name] = raw
		}
	}
	return rest
}

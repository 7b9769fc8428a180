//go:build failpoint

package failpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads the list of armed points: name=action, name=action@n.
func parse(list string) (map[Name]*armed, error) {
	all := map[Name]*armed{}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, action, _ := strings.Cut(item, "=")
		if !slices.Contains(Names(), Name(name)) {
			return nil, fmt.Errorf("there is no point %q; the points are:\n%s", name, listed())
		}
		if all[Name(name)] != nil {
			return nil, fmt.Errorf("%s is given twice: a point is armed for one passage", name)
		}
		a := &armed{name: Name(name)}
		if err := a.set(action); err != nil {
			return nil, err
		}
		all[a.name] = a
	}
	return all, nil
}

func (a *armed) set(text string) error {
	action, times, counted := strings.Cut(text, "@")
	n := 1
	if counted {
		var err error
		if n, err = strconv.Atoi(times); err != nil || n < 1 {
			return fmt.Errorf("%s=%s: want a passage from 1 on after the @", a.name, text)
		}
	}
	a.left.Store(int64(n))
	kind, arg, _ := strings.Cut(action, ":")
	switch {
	case action == "kill":
		a.do = a.kill
	case action == "stop":
		a.do = a.stop
	case action == "error" && CanFail(a.name):
		a.do = a.fail
	case action == "error":
		return fmt.Errorf("%s cannot fail; the points are:\n%s", a.name, listed())
	case kind == "sleep":
		d, err := time.ParseDuration(arg)
		if err != nil || d <= 0 {
			return fmt.Errorf("%s=%s: want sleep:<duration>, such as sleep:2s", a.name, text)
		}
		a.do = func() error {
			a.tell(action)
			time.Sleep(d)
			return nil
		}
	default:
		return fmt.Errorf("%s=%s: there is no action %q, only kill, stop, sleep:<duration> and error; the points are:\n%s", a.name, text, action, listed())
	}
	return nil
}

func listed() string {
	var text strings.Builder
	for _, name := range Names() {
		fmt.Fprintf(&text, "  %s", name)
		if CanFail(name) {
			text.WriteString(" (may fail)")
		}
		text.WriteByte('\n')
	}
	return text.String()
}

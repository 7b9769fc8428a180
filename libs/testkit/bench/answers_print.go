package main

import (
	"fmt"
	"io"
	"strings"
)

func (r result) briefAnswer() string {
	if _, ok := r.Figures[figAsked]; !ok {
		return fmt.Sprintf("%s events/s, %s cores, door %s / %s ms, row %s / %s ms (p50 / p99)", number(r.Figures[figRate]), number(r.Figures[figCores]),
			number(r.Figures[figDoor50]), number(r.Figures[figDoor99]), number(r.Figures[figRow50]), number(r.Figures[figRow99]))
	}
	text := fmt.Sprintf("%s / %s ms (p50 / p99)", number(r.Figures[figAnswer50]), number(r.Figures[figAnswer99]))
	if direct, ok := r.Figures[figDirect50]; ok {
		text += fmt.Sprintf(", ClickHouse alone %s / %s ms", number(direct), number(r.Figures[figDirect99]))
	}
	return text
}

// printAnswers shows the questions, and the ingest beside them.
func (r *report) printAnswers(w io.Writer) {
	var questions, ingest []string
	ahead, lacking, ended := "", 0.0, 0.0
	for _, name := range r.names() {
		switch runs := r.of(name); {
		case runs[0].Part != "answers":
		case figure(runs, figAhead).n > 0:
			ahead = fmt.Sprintf(" %s of the %s people who became active were read ahead, in %s s.", figure(runs, figKept), figure(runs, figActive), figure(runs, figAhead))
		case figure(runs, figAsked).n > 0:
			questions = append(questions, name)
			lacking += figure(runs, figLacking).median
			ended += figure(runs, figEnded).median
		default:
			ingest = append(ingest, name)
		}
	}
	if len(questions) == 0 || len(ingest) == 0 {
		return
	}
	first := r.of(questions[0])
	fmt.Fprintf(w, "\n| questions on %s rows while %s events/s come in | asked | p50 ms | aim | p99 ms | aim | ClickHouse alone p50 ms | p99 ms | overhead %% | aim |\n|---|---|---|---|---|---|---|---|---|---|\n",
		number(first[0].X), number(figure(r.of(ingest[0]), figRate).median))
	for _, name := range questions {
		runs, a := r.of(name), aims[name]
		overhead := aims["answers"][figOverhead].String()
		if figure(runs, figDirect50).n == 0 || strings.HasPrefix(name, "answers ask") { // an ask also stores
			overhead = ""
		}
		fmt.Fprintf(w, "| %s%s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(name, "answers "), r.mark(runs), figure(runs, figAsked),
			figure(runs, figAnswer50), a[figAnswer50], figure(runs, figAnswer99), a[figAnswer99],
			figure(runs, figDirect50), figure(runs, figDirect99), figure(runs, figOverhead), overhead)
	}
	fmt.Fprintln(w, "\n| ingest | events/s | cores | up | ClickHouse | generator and asker | door p50 ms | p99 ms | row visible p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, name := range ingest {
		runs := r.of(name)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(name, "answers "), figure(runs, figRate), figure(runs, figCores),
			figure(runs, figCores+".up"), figure(runs, figCores+"."+database), figure(runs, figCores+".generator"),
			figure(runs, figDoor50), figure(runs, figDoor99), figure(runs, figRow50), figure(runs, figRow99))
	}
	fmt.Fprintln(w, "\nOne client asks one question after the other. ClickHouse alone: the same statements, asked past Millrace over HTTP in turn with the question. Overhead: the median of the differences, of ClickHouse's median."+ahead)
	if lacking > 0 {
		fmt.Fprintf(w, "%s answers said that something lacks.\n", number(lacking))
	}
	if ended > 0 {
		fmt.Fprintf(w, "%s questions or statements were ended after 30 seconds, the time that a reader is given; they count as that long.\n", number(ended))
	}
}

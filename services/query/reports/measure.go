package reports

import "math"

// What can be measured of events.
const (
	measureCount   = "count"   // how many
	measureUsers   = "users"   // how many different people
	measureSum     = "sum"     // of a property, of those that have it as a number
	measureAverage = "average" // likewise
)

type measure struct{ what, property string }

func (in *input) measure() measure {
	m := measure{
		what: in.choice("measure", measureCount, "what is measured: events, different people, or the sum or average of a property",
			measureCount, measureUsers, measureSum, measureAverage),
		property: in.text("property", "", "the property of which the sum or the average is taken; it counts where it is a number"),
	}
	if needs := m.what == measureSum || m.what == measureAverage; needs != (m.property != "") {
		in.refuse("property and measure=sum or measure=average go together")
	}
	return m
}

func (m measure) params(p params) {
	p.raw("measure", m.what)
	p.text("property", m.property)
}

// value is a measured number as an answer has it: nil for the average of nothing.
func (m measure) value(s *scope, x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	if m.what != measureAverage {
		x = s.scaled(x)
	}
	return &x
}

// nothing is what is measured of no events.
func (m measure) nothing() *float64 {
	if m.what == measureAverage {
		return nil
	}
	return new(float64)
}

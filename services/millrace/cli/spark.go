package cli

import (
	"math"
	"strings"
)

// spark draws numbers as one line of bars, the largest as high as can be. What is not known is a blank.
func spark(values []*float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	highest := 0.0
	for _, v := range values {
		if v != nil {
			highest = max(highest, *v)
		}
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case v == nil:
			b.WriteByte(' ')
		case highest == 0 || *v <= 0:
			b.WriteRune('▁')
		default:
			b.WriteRune([]rune(bars)[min(7, int(*v/highest*8))])
		}
	}
	return b.String()
}

// bar draws a share of the largest number as a line of at most width cells, in steps of an eighth of one.
func bar(share float64, width int) string {
	if math.IsNaN(share) || share <= 0 {
		return ""
	}
	eighths := int(math.Round(min(share, 1) * float64(width) * 8))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return text
}

// fewer joins neighbours until the line fits, each of the rest being the sum of as many.
func fewer(values []*float64, width int) []*float64 {
	n := (len(values) + width - 1) / width
	if n <= 1 {
		return values
	}
	var list []*float64
	for i := 0; i < len(values); i += n {
		var sum *float64
		for _, v := range values[i:min(i+n, len(values))] {
			if v != nil {
				if sum == nil {
					sum = new(float64)
				}
				*sum += *v
			}
		}
		list = append(list, sum)
	}
	return list
}

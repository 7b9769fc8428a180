package dialect

import (
	"strconv"
	"time"

	"github.com/millrace/millrace/libs/event"
)

// appendTimes appends when it happened. Old browsers' SDKs say only how long
// that was before they sent it.
func (p *posthogPass) appendTimes(dst []byte) []byte {
	f := &p.facts
	switch {
	case !p.isBatch && !p.bare: // it is the request's
	case p.historical: // there is no clock to correct with it
		dst = appendPresent(dst, "posthog_sent_at", f.sentAt)
	default:
		dst = appendPresent(dst, "sentAt", f.sentAt)
	}
	switch {
	case isNone(f.timestamp):
		ms, err := strconv.ParseFloat(string(f.offset), 64)
		if at := p.sentAt - int64(ms); err == nil && p.sentAt != 0 && ms >= 0 && ms < 1e12 && at >= event.MinTime {
			dst = append(event.AppendComma(dst), `"originalTimestamp":"`...)
			dst = time.UnixMilli(at).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
			dst = append(dst, '"')
		}
	case p.historical:
		dst = event.AppendMember(dst, "timestamp", f.timestamp)
	default:
		dst = event.AppendMember(dst, "originalTimestamp", f.timestamp)
	}
	return dst
}

package frame

// Column is one column of a frame: its name and its wire type, as ClickHouse's
// Native format spells it.
type Column struct{ Name, Type string }

// Indexes into [Columns], in the order of the wire.
const (
	ColShard = iota
	ColSeq
	ColIdx
	ColSource
	ColType
	ColEvent
	ColEventID
	ColUserID
	ColAnonymousID
	ColPreviousID
	ColGroupID
	ColSessionID
	ColTimestamp
	ColOriginalTimestamp
	ColSentAt
	ColReceivedAt
	ColURL
	ColPath
	ColHost
	ColSearch
	ColTitle
	ColReferrer
	ColReferrerHost
	ColUTMSource
	ColUTMMedium
	ColUTMCampaign
	ColUTMTerm
	ColUTMContent
	ColBrowser
	ColBrowserVersion
	ColOS
	ColOSVersion
	ColDeviceType
	ColIsBot
	ColUserAgent
	ColIP
	ColLocale
	ColProperties
	ColPropertiesNum
	ColTraits
	ColTraitsNum
	ColContext
	ColContextNum
	ColExtra
)

const (
	typeString    = "String"
	typeMillis    = "DateTime64(3, 'UTC')"
	typeMapString = "Map(String, String)"
	typeMapFloat  = "Map(String, Float64)"
)

// Columns is the row of an ENRICHED frame and of the table `events`: the one
// list that the enricher writes, the indexer inserts and query reads. Strings
// travel plain; the server turns them into LowCardinality on insert (measured:
// the same CPU as own dictionaries once network compression is off,
// benchmarks "insert, 25 columns").
var Columns = []Column{
	ColShard:             {"_shard", "UInt16"},
	ColSeq:               {"_seq", "UInt64"},
	ColIdx:               {"_idx", "UInt32"},
	ColSource:            {"source", typeString},
	ColType:              {"type", typeString},
	ColEvent:             {"event", typeString},
	ColEventID:           {"event_id", typeString},
	ColUserID:            {"user_id", typeString},
	ColAnonymousID:       {"anonymous_id", typeString},
	ColPreviousID:        {"previous_id", typeString},
	ColGroupID:           {"group_id", typeString},
	ColSessionID:         {"session_id", typeString},
	ColTimestamp:         {"timestamp", typeMillis},
	ColOriginalTimestamp: {"original_timestamp", typeMillis},
	ColSentAt:            {"sent_at", typeMillis},
	ColReceivedAt:        {"received_at", typeMillis},
	ColURL:               {"url", typeString},
	ColPath:              {"path", typeString},
	ColHost:              {"host", typeString},
	ColSearch:            {"search", typeString},
	ColTitle:             {"title", typeString},
	ColReferrer:          {"referrer", typeString},
	ColReferrerHost:      {"referrer_host", typeString},
	ColUTMSource:         {"utm_source", typeString},
	ColUTMMedium:         {"utm_medium", typeString},
	ColUTMCampaign:       {"utm_campaign", typeString},
	ColUTMTerm:           {"utm_term", typeString},
	ColUTMContent:        {"utm_content", typeString},
	ColBrowser:           {"browser", typeString},
	ColBrowserVersion:    {"browser_version", typeString},
	ColOS:                {"os", typeString},
	ColOSVersion:         {"os_version", typeString},
	ColDeviceType:        {"device_type", typeString},
	ColIsBot:             {"is_bot", "Bool"},
	ColUserAgent:         {"user_agent", typeString},
	ColIP:                {"ip", typeString},
	ColLocale:            {"locale", typeString},
	ColProperties:        {"properties", typeMapString},
	ColPropertiesNum:     {"properties_num", typeMapFloat},
	ColTraits:            {"traits", typeMapString},
	ColTraitsNum:         {"traits_num", typeMapFloat},
	ColContext:           {"context", typeMapString},
	ColContextNum:        {"context_num", typeMapFloat},
	ColExtra:             {"extra", typeMapString},
}

// Indexes into [RawColumns].
const (
	RawSource = iota
	RawDoor
	RawIP
	RawUserAgent
	RawSentAt
	RawInSeq
	RawEventID
	RawReason
	RawDetail
	RawBody
)

// DoorAsk is the value of column door for what the query service sends for an ask.
const DoorAsk = "ask"

// RequestMark is the key in column extra that marks a row as a user's request. Only an event with [DoorAsk] keeps it: what is
// known of a user since their last request must not be reset by whoever may send events.
const RequestMark = "millrace_request"

// RawColumns is the row of a RAW frame: one event as it came, with what only
// the door knows about it.
var RawColumns = []Column{
	RawSource:    {"source", typeString},
	RawDoor:      {"door", typeString},           // http, nats, ask
	RawIP:        {"ip", typeString},             // of the client, "" from NATS
	RawUserAgent: {"user_agent", typeString},     // of the request, "" from NATS
	RawSentAt:    {"sent_at", typeMillis},        // of the request, 0 when it had none
	RawInSeq:     {"in_seq", "UInt64"},           // place in the IN stream, 0 from HTTP
	RawEventID:   {"event_id", typeString},       // given by the door when the event has no messageId
	RawReason:    {"refused_reason", typeString}, // "" when the door took the event
	RawDetail:    {"refused_detail", typeString}, // what, where, next step
	RawBody:      {"body", typeString},           // the original bytes, always whole
}

var (
	// RowSchema is the schema of ENRICHED frames.
	RowSchema = NewSchema(Columns)
	// RawSchema is the schema of RAW frames.
	RawSchema = NewSchema(RawColumns)
)

module github.com/millrace/millrace/libs/event

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/klauspost/compress v1.20.3
	github.com/millrace/millrace/schemas v0.0.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	golang.org/x/tools v0.51.0
)

require golang.org/x/text v0.43.0 // indirect

replace github.com/millrace/millrace/schemas => ../../schemas

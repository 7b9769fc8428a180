module github.com/millrace/millrace/services/ingester

go 1.26.0

require (
	github.com/klauspost/compress v1.20.3
	github.com/millrace/millrace/libs/bus v0.0.0
	github.com/millrace/millrace/libs/event v0.0.0
	github.com/millrace/millrace/libs/svc v0.0.0
	github.com/millrace/millrace/libs/testkit/explore v0.0.0
	github.com/millrace/millrace/schemas v0.0.0
	github.com/nats-io/nats-server/v2 v2.15.2
	github.com/nats-io/nats.go v1.55.0
	github.com/prometheus/client_golang v1.25.0
	github.com/prometheus/client_model v0.6.3
	golang.org/x/sync v0.24.0
	golang.org/x/time v0.16.0
	golang.org/x/tools v0.51.0
	gopkg.in/yaml.v3 v3.0.1
)

require github.com/kylelemons/godebug v1.1.0 // indirect

require (
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/millrace/millrace/libs/failpoint v0.0.0
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/millrace/millrace/libs/bus => ../../libs/bus
	github.com/millrace/millrace/libs/event => ../../libs/event
	github.com/millrace/millrace/libs/svc => ../../libs/svc
	github.com/millrace/millrace/schemas => ../../schemas
)

replace github.com/millrace/millrace/libs/failpoint => ../../libs/failpoint

replace github.com/millrace/millrace/libs/testkit/explore => ../../libs/testkit/explore

module github.com/millrace/millrace/libs/localdb

go 1.26.0

require github.com/ebitengine/purego v0.11.3

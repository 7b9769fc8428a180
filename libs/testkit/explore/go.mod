module github.com/millrace/millrace/libs/testkit/explore

go 1.26.0

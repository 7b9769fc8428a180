module github.com/millrace/millrace/deploy/probe

go 1.26.0

module github.com/millrace/millrace/libs/failpoint

go 1.26.0

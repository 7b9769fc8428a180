// Package contracts holds tests only: they compare the documents of schemas, which may import nothing of ours, with the
// code that they describe. A column, header, field, code or limit that is changed in one place alone fails here.
package contracts

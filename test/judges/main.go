// Judges that are not ours, behind one command line: go-spiffe for SVIDs, bundles and mTLS, the Kubernetes API
// server's own validation for what is written to it, and crypto/x509 as the API server uses it. Each verdict is
// one JSON object on standard output. Exit code 0: accepted, 1: refused, 2: the judge was used wrongly.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
)

// verdict is what a judge prints. Errors is empty exactly when Ok is true.
type verdict struct {
	Ok     bool              `json:"ok"`
	Errors []string          `json:"errors,omitempty"`
	Facts  map[string]string `json:"facts,omitempty"`
}

// usageError marks a mistake of the caller, as opposed to a verdict.
type usageError struct{ error }

func usagef(format string, arguments ...any) error {
	return usageError{fmt.Errorf(format, arguments...)}
}

var judges = map[string]func(arguments []string) (verdict, error){
	"x509-svid":           judgeX509SVID,
	"jwt-svid":            judgeJWTSVID,
	"spiffe-bundle":       judgeSPIFFEBundle,
	"jwt-bundle":          judgeJWTBundle,
	"federation":          judgeFederation,
	"mtls":                judgeMTLS,
	"mtls-peer":           judgeMTLSPeer,
	"mtls-loop":           judgeMTLSLoop,
	"workload-api":        judgeWorkloadAPI,
	"workload-api-server": serveWorkloadAPI,
	"serve-bundle":        judgeServeBundle,
	"pcr-create":          judgePCRCreate,
	"pcr-status":          judgePCRStatus,
	"ctb":                 judgeCTB,
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: judges %s|parse [FLAG ...]", names())
	}
	if os.Args[1] == "parse" {
		if err := parseLines(os.Stdin, os.Stdout); err != nil {
			fail("parse: %v", err)
		}
		return
	}
	judge, known := judges[os.Args[1]]
	if !known {
		fail("no judge %q; there are %s and parse", os.Args[1], names())
	}
	result, err := judge(os.Args[2:])
	var usage usageError
	if errors.As(err, &usage) {
		fail("%s: %v", os.Args[1], err)
	}
	if err != nil {
		result = refused(err.Error())
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fail("%v", err)
	}
	if !result.Ok {
		os.Exit(1)
	}
}

func accepted(facts map[string]string) verdict {
	return verdict{Ok: true, Facts: facts}
}

func refused(reasons ...string) verdict {
	return verdict{Errors: reasons}
}

func names() string {
	list := make([]string, 0, len(judges))
	for name := range judges {
		list = append(list, name)
	}
	sort.Strings(list)
	return strings.Join(list, "|")
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(2)
}

// read returns the content of a file that the caller named; a missing one is the caller's mistake.
func read(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, usagef("--%s is missing", flag)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{err}
	}
	return content, nil
}

package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// files are read again for each request and each handshake, so that a test rotates by writing them.
type files struct {
	document
	credentials string
}

// GetBundleForTrustDomain makes the file a source of go-spiffe's handler.
func (f *files) GetBundleForTrustDomain(trustDomain spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	return spiffebundle.Load(trustDomain, f.path)
}

// GetX509SVID makes the credentials a source of go-spiffe's TLS configuration.
func (f *files) GetX509SVID() (*x509svid.SVID, error) {
	return x509svid.Load(f.credentials, f.credentials)
}

// judgeServeBundle is the endpoint of another trust domain, by go-spiffe's federation handler. It ends when it is killed.
func judgeServeBundle(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("serve-bundle", flag.ContinueOnError)
	var given files
	given.define(flags)
	flags.StringVar(&given.credentials, "credentials", "", "FILE with private key and chain of the server")
	address := flags.String("address", "", "where to listen")
	hasSVID := flags.Bool("spiffe", false, "profile https_spiffe: the credentials are an X509-SVID")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	trustDomain, _, err := given.load()
	if err != nil {
		return verdict{}, err
	}
	handler, err := federation.NewHandler(trustDomain, &given)
	if err != nil {
		return verdict{}, usageError{err}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if *hasSVID {
		config = tlsconfig.TLSServerConfig(&given)
	} else {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(given.credentials, given.credentials)
			return &pair, err
		}
	}
	server := &http.Server{Addr: *address, Handler: handler, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second}
	err = server.ListenAndServeTLS("", "")
	if errors.Is(err, os.ErrClosed) {
		return accepted(nil), nil
	}
	return verdict{}, usageError{err}
}

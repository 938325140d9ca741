package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// bundles collects repeated flags of the form TRUST_DOMAIN=FILE.
type bundles struct{ set *x509bundle.Set }

func (b *bundles) String() string { return "" }

func (b *bundles) Set(value string) error {
	domain, path, found := strings.Cut(value, "=")
	if !found {
		return errors.New("want TRUST_DOMAIN=FILE")
	}
	trustDomain, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return err
	}
	bundle, err := x509bundle.Load(trustDomain, path)
	if err != nil {
		return err
	}
	b.set.Add(bundle)
	return nil
}

// judgeX509SVID verifies a chain of PEM certificates against the bundle of one trust domain and, where a key
// is given, parses both together as a workload does.
func judgeX509SVID(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("x509-svid", flag.ContinueOnError)
	roots := &bundles{set: x509bundle.NewSet()}
	flags.Var(roots, "bundle", "TRUST_DOMAIN=FILE with PEM roots; may be repeated")
	chainPath := flags.String("chain", "", "FILE with the PEM chain, leaf first")
	keyPath := flags.String("key", "", "FILE with the PKCS#8 private key, optional")
	now := flags.String("now", "", "time to verify at, RFC 3339; default: now")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	chain, err := read("chain", *chainPath)
	if err != nil {
		return verdict{}, err
	}
	var options []x509svid.VerifyOption
	if *now != "" {
		moment, err := time.Parse(time.RFC3339, *now)
		if err != nil {
			return verdict{}, usageError{err}
		}
		options = append(options, x509svid.WithTime(moment))
	}
	certificates, err := parsePEM(chain)
	if err != nil {
		return verdict{}, err
	}
	id, _, err := x509svid.Verify(certificates, roots.set, options...)
	if err != nil {
		return verdict{}, err
	}
	if *keyPath != "" {
		key, err := read("key", *keyPath)
		if err != nil {
			return verdict{}, err
		}
		if _, err := x509svid.Parse(chain, key); err != nil {
			return verdict{}, err
		}
	}
	return accepted(map[string]string{"id": id.String(), "certificates": fmt.Sprint(len(certificates))}), nil
}

// side is one end of an mTLS connection: a credential file (key and chain), what it trusts, whom it expects.
type side struct {
	credentials string
	bundles     *bundles
	peer        string
}

func (s *side) define(flags *flag.FlagSet, name string) {
	s.bundles = &bundles{set: x509bundle.NewSet()}
	flags.StringVar(&s.credentials, name, "", "FILE with private key and chain of the "+name)
	flags.Var(s.bundles, name+"-bundle", "TRUST_DOMAIN=FILE that the "+name+" trusts; may be repeated")
	flags.StringVar(&s.peer, name+"-expects", "", "SPIFFE ID that the "+name+" expects; default: any")
}

func (s *side) load(flag string) (*x509svid.SVID, tlsconfig.Authorizer, error) {
	content, err := read(flag, s.credentials)
	if err != nil {
		return nil, nil, err
	}
	svid, err := x509svid.Parse(content, content)
	if err != nil || s.peer == "" {
		return svid, tlsconfig.AuthorizeAny(), err
	}
	id, err := spiffeid.FromString(s.peer)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return svid, tlsconfig.AuthorizeID(id), nil
}

// judgeMTLS connects two workloads' files over TLS and sends a byte both ways.
func judgeMTLS(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("mtls", flag.ContinueOnError)
	var server, client side
	server.define(flags, "server")
	client.define(flags, "client")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	serverSVID, serverAuthorizer, err := server.load("server")
	if err != nil {
		return verdict{}, err
	}
	clientSVID, clientAuthorizer, err := client.load("client")
	if err != nil {
		return verdict{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	listener, err := spiffetls.ListenWithMode(ctx, "tcp", "127.0.0.1:0",
		spiffetls.MTLSServerWithRawConfig(serverAuthorizer, serverSVID, server.bundles.set))
	if err != nil {
		return verdict{}, err
	}
	defer listener.Close()
	type outcome struct {
		peer string
		err  error
	}
	served := make(chan outcome, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			served <- outcome{err: err}
			return
		}
		defer connection.Close()
		octet := make([]byte, 1)
		if _, err := io.ReadFull(connection, octet); err != nil {
			served <- outcome{err: err}
			return
		}
		peer, err := spiffetls.PeerIDFromConn(connection)
		if err == nil {
			_, err = connection.Write(octet)
		}
		served <- outcome{peer: peer.String(), err: err}
	}()

	connection, err := spiffetls.DialWithMode(ctx, "tcp", listener.Addr().String(),
		spiffetls.MTLSClientWithRawConfig(clientAuthorizer, clientSVID, client.bundles.set))
	if err != nil {
		return refused("client: " + err.Error()), nil
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	octet := []byte{1}
	_, clientErr := connection.Write(octet)
	if clientErr == nil {
		_, clientErr = io.ReadFull(connection, octet)
	}
	seen := <-served
	if seen.err != nil {
		return refused("server: " + seen.err.Error()), nil
	}
	if clientErr != nil {
		return refused("client: " + clientErr.Error()), nil
	}
	peer, err := spiffetls.PeerIDFromConn(connection)
	if err != nil {
		return verdict{}, err
	}
	facts := map[string]string{"serverSaw": seen.peer, "clientSaw": peer.String()}
	if state, ok := connection.(interface{ ConnectionState() tls.ConnectionState }); ok {
		facts["tlsVersion"] = tls.VersionName(state.ConnectionState().Version)
	}
	return accepted(facts), nil
}

package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// document is a file with what verifies the SVIDs of one trust domain.
type document struct {
	domain string
	path   string
}

func (d *document) define(flags *flag.FlagSet) {
	flags.StringVar(&d.domain, "trust-domain", "", "trust domain of the bundle")
	flags.StringVar(&d.path, "file", "", "FILE with the bundle")
}

func (d *document) load() (spiffeid.TrustDomain, []byte, error) {
	trustDomain, err := spiffeid.TrustDomainFromString(d.domain)
	if err != nil {
		return trustDomain, nil, usageError{err}
	}
	content, err := read("file", d.path)
	return trustDomain, content, err
}

// judgeSPIFFEBundle reads a SPIFFE bundle.
func judgeSPIFFEBundle(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("spiffe-bundle", flag.ContinueOnError)
	var given document
	given.define(flags)
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	trustDomain, content, err := given.load()
	if err != nil {
		return verdict{}, err
	}
	bundle, err := spiffebundle.Parse(trustDomain, content)
	if err != nil {
		return verdict{}, err
	}
	return accepted(factsOf(bundle)), nil
}

// judgeJWTBundle reads a JWK set that must hold JWT keys only.
func judgeJWTBundle(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("jwt-bundle", flag.ContinueOnError)
	var given document
	given.define(flags)
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	trustDomain, content, err := given.load()
	if err != nil {
		return verdict{}, err
	}
	bundle, err := jwtbundle.Parse(trustDomain, content)
	if err != nil {
		return verdict{}, err
	}
	return accepted(map[string]string{"kids": kidsOf(bundle)}), nil
}

// judgeJWTSVID verifies a token against a SPIFFE bundle, a JWK set of JWT keys, or the bundles of a Workload API.
func judgeJWTSVID(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("jwt-svid", flag.ContinueOnError)
	var given document
	given.define(flags)
	isJWKS := flags.Bool("jwks", false, "the bundle is a JWK set of JWT keys")
	address := flags.String("workload-api", "", "instead of a file: SPIFFE_ENDPOINT_SOCKET")
	tokenPath := flags.String("token", "", "FILE with the token")
	audience := flags.String("audience", "", "audience that the token must have")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	token, err := read("token", *tokenPath)
	if err != nil {
		return verdict{}, err
	}
	source, err := jwtKeys(given, *isJWKS, *address)
	if err != nil {
		return verdict{}, err
	}
	svid, err := jwtsvid.ParseAndValidate(string(token), source, []string{*audience})
	if err != nil {
		return verdict{}, err
	}
	return accepted(map[string]string{
		"id":       svid.ID.String(),
		"audience": strings.Join(svid.Audience, " "),
		"expiry":   svid.Expiry.Format(time.RFC3339),
	}), nil
}

func jwtKeys(given document, isJWKS bool, address string) (jwtbundle.Source, error) {
	if address != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return workloadapi.FetchJWTBundles(ctx, workloadapi.WithAddr(address))
	}
	trustDomain, content, err := given.load()
	if err != nil {
		return nil, err
	}
	if isJWKS {
		return jwtbundle.Parse(trustDomain, content)
	}
	return spiffebundle.Parse(trustDomain, content)
}

// judgeFederation fetches a bundle from an endpoint, authenticated by roots of the web or by a SPIFFE ID.
func judgeFederation(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("federation", flag.ContinueOnError)
	domain := flags.String("trust-domain", "", "trust domain of the bundle")
	url := flags.String("url", "", "URL of the endpoint")
	webRoots := flags.String("web-roots", "", "FILE with PEM roots: profile https_web")
	endpointID := flags.String("endpoint-id", "", "SPIFFE ID of the endpoint: profile https_spiffe")
	known := &bundles{set: x509bundle.NewSet()}
	flags.Var(known, "bundle", "TRUST_DOMAIN=FILE with PEM roots that the endpoint's SVID leads to")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	trustDomain, err := spiffeid.TrustDomainFromString(*domain)
	if err != nil {
		return verdict{}, usageError{err}
	}
	option, err := fetchOption(*webRoots, *endpointID, known)
	if err != nil {
		return verdict{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bundle, err := federation.FetchBundle(ctx, trustDomain, *url, option)
	if err != nil {
		return verdict{}, err
	}
	return accepted(factsOf(bundle)), nil
}

func fetchOption(webRoots, endpointID string, known *bundles) (federation.FetchOption, error) {
	if endpointID != "" {
		id, err := spiffeid.FromString(endpointID)
		if err != nil {
			return nil, usageError{err}
		}
		return federation.WithSPIFFEAuth(known.set, id), nil
	}
	content, err := read("web-roots", webRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, usageError{errors.New("no certificate in --web-roots")}
	}
	return federation.WithWebPKIRoots(pool), nil
}

func factsOf(bundle *spiffebundle.Bundle) map[string]string {
	roots := make([]string, 0)
	for _, root := range bundle.X509Authorities() {
		sum := sha256.Sum256(root.Raw)
		roots = append(roots, hex.EncodeToString(sum[:]))
	}
	slices.Sort(roots)
	facts := map[string]string{"roots": strings.Join(roots, " "), "kids": kidsOf(bundle.JWTBundle())}
	if sequence, ok := bundle.SequenceNumber(); ok {
		facts["sequence"] = fmt.Sprint(sequence)
	}
	if hint, ok := bundle.RefreshHint(); ok {
		facts["refreshHint"] = hint.String()
	}
	return facts
}

func kidsOf(bundle *jwtbundle.Bundle) string {
	return strings.Join(slices.Sorted(maps.Keys(bundle.JWTAuthorities())), " ")
}

package main

import (
	"context"
	"flag"
	"io"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// judgeMTLSPeer is one end of an mTLS connection whose other end is not go-spiffe: the client sends an octet and the
// server returns it. Its own credentials and bundles are files, or come from a Workload API. Fact: saw, the SPIFFE ID of
// the other end.
func judgeMTLSPeer(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("mtls-peer", flag.ContinueOnError)
	var own side
	own.define(flags, "own")
	address := flags.String("address", "", "where the other end listens, or where to listen")
	listens := flags.Bool("listen", false, "be the server")
	workloadAPI := flags.String("workload-api", "", "SPIFFE_ENDPOINT_SOCKET, in place of files")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var svid x509svid.Source
	var roots x509bundle.Source = own.bundles.set
	authorizer := tlsconfig.AuthorizeAny()
	if *workloadAPI != "" {
		source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(*workloadAPI)))
		if err != nil {
			return verdict{}, err
		}
		defer source.Close()
		svid, roots = source, source
	} else {
		var err error
		svid, authorizer, err = own.load("own")
		if err != nil {
			return verdict{}, err
		}
	}

	var connection net.Conn
	var err error
	if *listens {
		listener, err := spiffetls.ListenWithMode(ctx, "tcp", *address,
			spiffetls.MTLSServerWithRawConfig(authorizer, svid, roots))
		if err != nil {
			return verdict{}, usageError{err}
		}
		defer listener.Close()
		connection, err = listener.Accept()
		if err != nil {
			return verdict{}, err
		}
	} else {
		connection, err = spiffetls.DialWithMode(ctx, "tcp", *address,
			spiffetls.MTLSClientWithRawConfig(authorizer, svid, roots))
		if err != nil {
			return verdict{}, err
		}
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	octet := []byte{1}
	if *listens {
		if _, err := io.ReadFull(connection, octet); err != nil {
			return verdict{}, err
		}
		if _, err := connection.Write(octet); err != nil {
			return verdict{}, err
		}
	} else {
		if _, err := connection.Write(octet); err != nil {
			return verdict{}, err
		}
		if _, err := io.ReadFull(connection, octet); err != nil {
			return verdict{}, err
		}
	}
	peer, err := spiffetls.PeerIDFromConn(connection)
	if err != nil {
		return verdict{}, err
	}
	return accepted(map[string]string{"saw": peer.String()}), nil
}

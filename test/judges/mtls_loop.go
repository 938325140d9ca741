package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// calls is what came of the calls to one address since its first answer.
type calls struct {
	Answered   int      `json:"answered"`
	Failed     []string `json:"failed"`
	PeerIssuer string   `json:"peerIssuer"`
}

// judgeMTLSLoop is a workload with a Workload API: it answers on each --listen, and calls each --call NAME=HOST:PORT over a
// new connection again and again, always with mTLS. Prints what came of the calls as one line of JSON every half second, until
// it is killed.
func judgeMTLSLoop(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("mtls-loop", flag.ContinueOnError)
	workloadAPI := flags.String("workload-api", "", "SPIFFE_ENDPOINT_SOCKET")
	expects := flags.String("expects", "", "SPIFFE ID of clients and servers")
	rest := flags.Duration("rest", 100*time.Millisecond, "between two calls")
	var listens []string
	targets := map[string]string{}
	flags.Func("listen", "address to listen on", func(address string) error {
		listens = append(listens, address)
		return nil
	})
	flags.Func("call", "NAME=HOST:PORT", func(value string) error {
		name, address, found := strings.Cut(value, "=")
		if !found {
			return fmt.Errorf("%q is not NAME=HOST:PORT", value)
		}
		targets[name] = address
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	id, err := spiffeid.FromString(*expects)
	if err != nil {
		return verdict{}, usageError{err}
	}
	source, err := workloadapi.NewX509Source(context.Background(),
		workloadapi.WithClientOptions(workloadapi.WithAddr(*workloadAPI)))
	if err != nil {
		return verdict{}, err
	}
	defer source.Close()
	for _, address := range listens {
		listener, err := tls.Listen("tcp", address, tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(id)))
		if err != nil {
			return verdict{}, usageError{err}
		}
		go echo(listener)
	}
	var lock sync.Mutex
	report := map[string]*calls{}
	for name, address := range targets {
		own := &calls{Failed: []string{}}
		report[name] = own
		go func() {
			for ; ; time.Sleep(*rest) {
				issuer, err := call(address, tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(id)))
				lock.Lock()
				if err == nil {
					own.Answered++
					own.PeerIssuer = issuer
				} else if own.Answered > 0 {
					// Before the first answer, the other end may not be there yet.
					own.Failed = append(own.Failed, err.Error())
				}
				lock.Unlock()
			}
		}()
	}
	for ; ; time.Sleep(500 * time.Millisecond) {
		lock.Lock()
		err := json.NewEncoder(os.Stdout).Encode(report)
		lock.Unlock()
		if err != nil {
			return verdict{}, err
		}
	}
}

// echo returns each octet that comes.
func echo(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		go func() {
			defer connection.Close()
			connection.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(connection, connection); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// call sends an octet over a new connection and waits for it to come back. Returns the common name of the CA that signed the
// certificate of the server.
func call(address string, config *tls.Config) (string, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	connection, err := tls.DialWithDialer(dialer, "tcp", address, config)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	octet := []byte{1}
	if _, err := connection.Write(octet); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(connection, octet); err != nil {
		return "", err
	}
	return connection.ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

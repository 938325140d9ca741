// Asks the greeter at SERVER, whose SPIFFE ID must be SERVER_ID, for a greeting. Its own identity is that of the
// Workload API at SPIFFE_ENDPOINT_SOCKET, which go-spiffe follows.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/examples/helloworld/helloworld"
)

func main() {
	if err := greet(); err != nil {
		log.Fatal(err)
	}
}

func greet() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	server, err := spiffeid.FromString(os.Getenv("SERVER_ID"))
	if err != nil {
		return err
	}
	mtls := grpccredentials.MTLSClientCredentials(source, source, tlsconfig.AuthorizeID(server))
	connection, err := grpc.NewClient(os.Getenv("SERVER"), grpc.WithTransportCredentials(mtls))
	if err != nil {
		return err
	}
	defer connection.Close()
	greeter := helloworld.NewGreeterClient(connection)
	reply, err := greeter.SayHello(ctx, &helloworld.HelloRequest{Name: "Go"})
	if err != nil {
		return err
	}
	svid, err := source.GetX509SVID()
	if err != nil {
		return err
	}
	fmt.Printf("%s answered %s: %s\n", server, svid.ID, reply.GetMessage())
	return nil
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// apiState is what the server answers, each response as protojson; a method without one is denied.
type apiState struct {
	X509        json.RawMessage `json:"x509"`
	X509Bundles json.RawMessage `json:"x509Bundles"`
	JWTBundles  json.RawMessage `json:"jwtBundles"`
	JWT         json.RawMessage `json:"jwt"`
}

type apiServer struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	mutex   sync.Mutex
	state   apiState
	changed chan struct{}
	streams int
}

// serveWorkloadAPI serves the Workload API with grpc-go, as SPIRE's agent does. Each line of standard input is a new
// state, which is confirmed by a line of standard output. It ends with standard input. Fact: streams, how many were opened.
func serveWorkloadAPI(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("workload-api-server", flag.ContinueOnError)
	path := flags.String("socket", "", "path of the Unix socket")
	age := flags.Duration("max-connection-age", time.Hour, "after which a connection is closed with GOAWAY")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	listener, err := net.Listen("unix", *path)
	if err != nil {
		return verdict{}, usageError{err}
	}
	api := &apiServer{changed: make(chan struct{})}
	server := grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge:      *age,
		MaxConnectionAgeGrace: 50 * time.Millisecond,
	}))
	workload.RegisterSpiffeWorkloadAPIServer(server, api)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var state apiState
		if err := json.Unmarshal(lines.Bytes(), &state); err != nil {
			return verdict{}, usageError{err}
		}
		facts := map[string]string{"streams": fmt.Sprint(api.become(state))}
		if err := json.NewEncoder(os.Stdout).Encode(accepted(facts)); err != nil {
			return verdict{}, err
		}
	}
	return accepted(nil), lines.Err()
}

// become returns how many streams were opened so far.
func (s *apiServer) become(state apiState) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.state = state
	close(s.changed)
	s.changed = make(chan struct{})
	return s.streams
}

func (s *apiServer) opened() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.streams++
}

func (s *apiServer) current() (apiState, <-chan struct{}) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.state, s.changed
}

func (s *apiServer) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return follow(s, stream, func(state apiState) json.RawMessage { return state.X509 })
}

func (s *apiServer) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return follow(s, stream, func(state apiState) json.RawMessage { return state.X509Bundles })
}

func (s *apiServer) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return follow(s, stream, func(state apiState) json.RawMessage { return state.JWTBundles })
}

func (s *apiServer) FetchJWTSVID(ctx context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if err := checkHeader(ctx); err != nil {
		return nil, err
	}
	if len(request.Audience) == 0 {
		return nil, status.Error(codes.InvalidArgument, "audience must be specified")
	}
	state, _ := s.current()
	response := &workload.JWTSVIDResponse{}
	return response, fill(response, state.JWT)
}

// follow sends the current response, and again after each change, until the client goes.
func follow[T any, M interface {
	*T
	proto.Message
}](s *apiServer, stream grpc.ServerStreamingServer[T], pick func(apiState) json.RawMessage) error {
	if err := checkHeader(stream.Context()); err != nil {
		return err
	}
	s.opened()
	for {
		state, changed := s.current()
		response := M(new(T))
		if err := fill(response, pick(state)); err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func fill(response proto.Message, from json.RawMessage) error {
	if from == nil {
		return status.Error(codes.PermissionDenied, "no identity issued")
	}
	return protojson.Unmarshal(from, response)
}

func checkHeader(ctx context.Context) error {
	found, _ := metadata.FromIncomingContext(ctx)
	if values := found.Get("workload.spiffe.io"); len(values) != 1 || values[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// judgeWorkloadAPI calls every method of the Workload API as a workload does, and reports what it was given.
func judgeWorkloadAPI(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("workload-api", flag.ContinueOnError)
	address := flags.String("address", "", "SPIFFE_ENDPOINT_SOCKET")
	audience := flags.String("audience", "", "for the JWT-SVID")
	updates := flags.Int("updates", 0, "instead: print so many X.509 contexts as they come, one line of JSON for each")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(*address))
	if err != nil {
		return verdict{}, err
	}
	defer client.Close()
	if *updates > 0 {
		return watch(ctx, client, *updates)
	}

	facts := map[string]string{}
	x509, err := client.FetchX509Context(ctx)
	if err != nil {
		return verdict{}, err
	}
	facts["x509"] = describe(x509)
	facts["x509-bundles"] = domains(x509)
	bundles, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return verdict{}, err
	}
	names := []string{}
	for _, bundle := range bundles.Bundles() {
		names = append(names, bundle.TrustDomain().Name())
	}
	facts["fetched-bundles"] = strings.Join(names, " ")
	svids, err := client.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: *audience})
	if err != nil {
		return verdict{}, err
	}
	ids := []string{}
	for _, svid := range svids {
		ids = append(ids, svid.ID.String()+" "+svid.Hint)
	}
	facts["jwt"] = strings.Join(ids, ", ")
	jwtBundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return verdict{}, err
	}
	validated, err := client.ValidateJWTSVID(ctx, svids[0].Marshal(), *audience)
	if err != nil {
		return verdict{}, err
	}
	facts["validated"] = validated.ID.String()
	if _, err := jwtsvid.ParseAndValidate(svids[0].Marshal(), jwtBundles, []string{*audience}); err != nil {
		return verdict{}, err
	}
	return accepted(facts), nil
}

func describe(context *workloadapi.X509Context) string {
	described := []string{}
	for _, svid := range context.SVIDs {
		described = append(described, svid.ID.String()+" "+svid.Certificates[0].SerialNumber.Text(16)+" "+svid.Hint)
	}
	return strings.Join(described, ", ")
}

func domains(context *workloadapi.X509Context) string {
	names := []string{}
	for _, bundle := range context.Bundles.Bundles() {
		names = append(names, bundle.TrustDomain().Name())
	}
	return strings.Join(names, " ")
}

// watcher prints every update as it comes, and ends after the last one that is wanted.
type watcher struct {
	mutex sync.Mutex
	left  int
	end   context.CancelFunc
}

func (w *watcher) OnX509ContextUpdate(context *workloadapi.X509Context) {
	w.print(accepted(map[string]string{"x509": describe(context), "x509-bundles": domains(context)}))
}

func (w *watcher) OnX509ContextWatchError(err error) {
	if w.left > 0 {
		w.print(refused(err.Error()))
	}
}

func (w *watcher) print(verdict verdict) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.left == 0 {
		return
	}
	w.left--
	_ = json.NewEncoder(os.Stdout).Encode(verdict)
	if w.left == 0 {
		w.end()
	}
}

func watch(ctx context.Context, client *workloadapi.Client, updates int) (verdict, error) {
	ctx, end := context.WithCancel(ctx)
	_ = client.WatchX509Context(ctx, &watcher{left: updates, end: end})
	return accepted(nil), nil
}

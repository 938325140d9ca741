// Helm, for the tests of manifests/chart.
package main

import (
	"errors"
	"os"

	helm "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
)

func main() {
	// The field manager of the release binary, whatever this file is called.
	kube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err == nil {
		err = command.Execute()
	}
	if exit, ok := errors.AsType[helm.CommandError](err); ok {
		os.Exit(exit.ExitCode)
	}
	if err != nil {
		os.Exit(1)
	}
}
